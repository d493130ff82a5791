"""Numbers in words."""

from helpers.results import words


def test_counts_lists_and_p_values():
    assert [words.plural(n, "seed") for n in (0, 1, 1234)] == ["0 seeds", "1 seed", "1,234 seeds"]
    assert [words.count_seeds(n) for n in (1, 2)] == ["one seed", "2 seeds"]
    assert [words.join_words("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [words.p_text(p) for p in (0.0009, 0.0456, 0.96)] == ["p < 0.001", "p = 0.046", "p = 0.96"]


def test_differences_over_seeds():
    assert words.in_words([2.0, -0.001], sign="+") == "+2.00 and 0.00 points"
    # 4.3027, t of 2 degrees of freedom, times 1 / sqrt(3)
    assert words.in_words([1, 2, 3]) == "2.00 ± 2.48 points"
