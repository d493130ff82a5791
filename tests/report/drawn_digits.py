"""Each digit as the paths of a pen, in a box from 0 to 1: strokes of points (x, y)."""

from math import cos, pi, sin


def arc(x: float, y: float, width: float, height: float, begin: float, end: float) -> list[tuple[float, float]]:
    """Points on an ellipse; angles in turns, clockwise from the right."""
    angles = [2 * pi * (begin + (end - begin) * step / 12) for step in range(13)]
    return [(x + width * cos(angle), y + height * sin(angle)) for angle in angles]


DRAWINGS = [
    [arc(.4, .5, .25, .45, -.25, .75)],
    [[(.4, .05), (.4, .95)]],
    [[*arc(.4, .3, .22, .25, -.47, .11), (.16, .95), (.68, .95)]],
    [arc(.36, .28, .22, .23, -.42, .25) + arc(.36, .73, .26, .23, -.25, .42)],
    [[(.24, .05), (.16, .55), (.64, .55)], [(.56, .1), (.56, .95)]],
    [[(.6, .07), (.24, .07), (.22, .45), *arc(.38, .66, .22, .26, -.36, .39)]],
    [[(.52, .05), (.28, .4), *arc(.4, .7, .2, .24, .53, 1.53)]],
    [[(.16, .1), (.64, .1), (.32, .95)]],
    [arc(.4, .27, .18, .2, .25, -.75) + arc(.4, .72, .22, .23, -.25, .75)],
    [[*arc(.4, .3, .19, .22, 0, -1), (.58, .5), (.5, .95)]],
]
