
// 6. The section: a canvas, three networks' answers, what their norms do
{
  const section = document.currentScript.closest(".try-it");
  const find = (name) => section.querySelector(`.${name}`);
  const study = readStudy(find("networks").textContent);
  const {names, images} = study.facts;
  const norms = Object.keys(names).filter((norm) => norm in NORMS);
  const canvas = find("paper");
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const size = canvas.width;
  const pen = {x: size / 2, y: size / 2, isDown: false};
  let strokes = [];  // each an array of [x, y]
  let shown = -1;  // index of the example that is shown

  /** A table's row: a header, then a cell for each network with `bars` bars and texts. Returns the cells. */
  const addRow = (body, title, bars) => {
    const row = body.insertRow();
    const header = row.appendChild(document.createElement("th"));
    header.scope = "row";
    header.textContent = title;
    return norms.map((norm) => {
      const cell = row.insertCell();
      cell.className = norm;
      for (let i = 0; i < bars; i++) {
        cell.appendChild(document.createElement("div")).append(document.createElement("i"));
        cell.append(document.createElement("span"));
      }
      return cell;
    });
  };
  for (const table of section.querySelectorAll("table")) {
    for (const norm of norms) {
      const header = table.tHead.rows[0].appendChild(document.createElement("th"));
      header.scope = "col";
      header.textContent = names[norm];
    }
  }
  const answerRow = addRow(find("answers tbody"), "reads", 0);
  const shareRows = Array.from({length: 10}, (_, digit) => addRow(find("answers tbody"), digit, 1));
  const normRows = Array.from({length: 6}, (_, block) => addRow(find("norms tbody"), block + 1, 2));

  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  /** A mark from mean - std to mean + std, on a square-root scale from -36 to 81, and the numbers. */
  const setRange = (bar, text, {mean, variance}) => {
    const mark = bar.firstChild;
    const std = Math.sqrt(variance);
    const place = (value) => 100 * Math.min(Math.max((6 + Math.sign(value) * Math.sqrt(Math.abs(value))) / 15, 0), 1);
    mark.style.marginLeft = `${place(mean - std)}%`;
    mark.style.width = `${place(mean + std) - place(mean - std)}%`;
    text.textContent = `${mean.toFixed(2)} ± ${std.toFixed(2)}`;
  };

  const show = (pixels) => {
    draw(find("seen"), pixels);
    const isEmpty = pixels.every((pixel) => pixel === 0);
    const answers = norms.map((norm, column) => {
      const {logits, norms: blocks} = forward(study, norm, pixels);
      const shares = isEmpty ? Array(10).fill(0) : softmax(logits);
      const answer = shares.indexOf(Math.max(...shares));
      answerRow[column].textContent = isEmpty ? "–" : answer;
      shareRows.forEach((cells, digit) => {
        const [bar, text] = cells[column].children;
        bar.firstChild.style.width = `${100 * shares[digit]}%`;
        text.textContent = isEmpty ? "–" : percent(shares[digit]);
        cells[column].classList.toggle("most", !isEmpty && digit === answer);
      });
      normRows.forEach((cells, block) => {
        const [before, beforeText, after, afterText] = cells[column].children;
        setRange(before, beforeText, blocks[block].before);
        setRange(after, afterText, blocks[block].after);
      });
      return {answer, share: percent(shares[answer])};
    });
    const image = images[shown];
    const source = image ? `Test image ${image.index}, labelled ${image.label}. ` : "";
    const told = answers.map(({answer, share}, column) => `${names[norms[column]]} reads ${answer} (${share})`);
    const isOne = new Set(answers.map(({answer}) => answer)).size === 1;
    const verdict = `${isOne ? "They agree" : "They disagree"}: ${told.join(", ")}.`;
    setText("verdict", isEmpty ? "Draw a digit, or take an example." : source + verdict);
  };

  const setText = (name, text) => {
    if (find(name).textContent !== text) find(name).textContent = text;  // a screen reader reads only changes
  };

  /** 784 pixels as dark ink on white. */
  const draw = (target, pixels) => {
    const image = new ImageData(28, 28);
    image.data.fill(255);
    pixels.forEach((pixel, i) => image.data.fill(255 - pixel, 4 * i, 4 * i + 3));
    target.getContext("2d").putImageData(image, 0, 0);
  };

  /** Strokes on white. The pen fits the drawing: about an eighth of its longer side, as in MNIST. */
  const paint = () => {
    shown = -1;
    const points = strokes.flat();
    const extent = (axis) => Math.max(...points.map((point) => point[axis])) - Math.min(...points.map((point) => point[axis]));
    context.fillStyle = "white";
    context.fillRect(0, 0, size, size);
    context.lineWidth = Math.min(Math.max(0.12 * Math.max(extent(0), extent(1)), 12), 28);
    context.lineCap = context.lineJoin = "round";
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of stroke) context.lineTo(...point);
      context.stroke();
    }
  };
  let isWaiting = false;
  const changed = () => {
    paint();
    if (!isWaiting) requestAnimationFrame(() => {
      isWaiting = false;
      show(prepare(context.getImageData(0, 0, size, size)));
    });
    isWaiting = true;
  };

  const showExample = (index) => {
    strokes = [];
    paint();
    shown = index;
    const pixels = study.tensors.images.data.slice(784 * index, 784 * (index + 1));
    draw(find("copy"), pixels);
    context.imageSmoothingEnabled = false;
    context.drawImage(find("copy"), 0, 0, size, size);
    show(pixels);
  };

  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * size / box.width, (event.clientY - box.top) * size / box.height];
  };
  let drawing = null;  // the pointer that draws; a second finger does not
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drawing !== null) return;
    drawing = event.pointerId;
    strokes.push([where(event)]);
    changed();
    event.preventDefault();
    canvas.focus({preventScroll: true});
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);  // the stroke goes on outside of the paper
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawing) return;
    strokes.at(-1).push(where(event));
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId === drawing) drawing = null;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10]}[event.key];
    if (event.key === " ") {
      pen.isDown = !pen.isDown;
      if (pen.isDown) strokes.push([[pen.x, pen.y]]);
    } else if (step) {
      pen.x = Math.min(Math.max(pen.x + step[0], 0), size);
      pen.y = Math.min(Math.max(pen.y + step[1], 0), size);
      if (pen.isDown) strokes.at(-1).push([pen.x, pen.y]);
    } else return;
    event.preventDefault();
    if (pen.isDown) changed();
    find("pen").style.left = `${100 * pen.x / size}%`;
    find("pen").style.top = `${100 * pen.y / size}%`;
    find("pen").classList.toggle("down", pen.isDown);
  });
  const change = (act) => () => {
    drawing = null;
    pen.isDown = false;
    find("pen").classList.remove("down");
    act();
  };
  find("undo").addEventListener("click", change(() => {
    strokes.pop();
    changed();
  }));
  find("clear").addEventListener("click", change(() => {
    strokes = [];
    changed();
  }));
  find("next").addEventListener("click", change(() => showExample((shown + 1) % images.length)));
  images.forEach((image, index) => {
    if (!image.is_wrong) return;
    const button = find("wrong").appendChild(document.createElement("button"));
    button.type = "button";
    button.setAttribute("aria-label", `Test image ${image.index}, a ${image.label}`);
    const thumbnail = button.appendChild(document.createElement("canvas"));
    thumbnail.width = thumbnail.height = 28;
    draw(thumbnail, study.tensors.images.data.slice(784 * index, 784 * (index + 1)));
    button.addEventListener("click", change(() => showExample(index)));
  });

  window.study = {prepare, logits: (norm, pixels) => forward(study, norm, pixels).logits};
  find("without").remove();
  find("with").hidden = false;
  showExample(0);
}
