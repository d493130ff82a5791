"use strict";
// The page's trained networks, as helpers/model.py defines them, and the section in which a reader asks them.
// An activation is {data: Float32Array, shape: [channels, height, width]}, of one image.

// 1. The layers

function conv2d(x, weight, padding = 0) {
  const [numOut, numIn, kernel] = weight.shape;
  const size = x.shape[1] + 2 * padding;
  const outSize = size - kernel + 1;
  const input = padding ? pad(x, padding) : x.data;
  const output = new Float32Array(numOut * outSize * outSize);
  let index = 0;
  for (let o = 0; o < numOut; o++) {
    for (let i = 0; i < numIn; i++) {
      for (let ky = 0; ky < kernel; ky++) {
        for (let kx = 0; kx < kernel; kx++) {
          const w = weight.data[index++];
          for (let y = 0; y < outSize; y++) {
            let from = (i * size + y + ky) * size + kx;
            let to = (o * outSize + y) * outSize;
            const end = to + outSize;
            while (to < end) output[to++] += w * input[from++];
          }
        }
      }
    }
  }
  return {data: output, shape: [numOut, outSize, outSize]};
}

function pad(x, padding) {
  const [channels, height, width] = x.shape;
  const size = width + 2 * padding;
  const padded = new Float32Array(channels * size * size);
  for (let row = 0; row < channels * height; row++) {
    const y = Math.floor(row / height) * size + row % height + padding;
    padded.set(x.data.subarray(row * width, (row + 1) * width), y * size + padding);
  }
  return padded;
}

function relu(x) {
  return {data: x.data.map((value) => Math.max(value, 0)), shape: x.shape};
}

function pool(x, kernel, combine) {
  const [channels, height, width] = x.shape;
  const outSize = width / kernel;
  const output = new Float32Array(channels * outSize * outSize);
  for (let to = 0; to < output.length; to++) {
    const top = Math.floor(to / outSize) * kernel;  // a row of all channels' rows
    const left = to % outSize * kernel;
    const values = [];
    for (let row = top; row < top + kernel; row++) {
      values.push(...x.data.subarray(row * width + left, row * width + left + kernel));
    }
    output[to] = combine(values);
  }
  return {data: output, shape: [channels, outSize, outSize]};
}

const maxPool = (x, kernel) => pool(x, kernel, (values) => Math.max(...values));
const avgPool = (x, kernel) => pool(x, kernel, (values) => statistics(values).mean);

// 2. The three norms: they differ in the numbers that share a mean

function statistics(values) {
  let sum = 0;
  let squares = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  for (const value of values) squares += (value - mean) ** 2;
  return {mean, variance: squares / values.length};
}

function standardize(values, {mean, variance}) {
  const std = Math.sqrt(variance + 1e-5);
  return values.map((value) => (value - mean) / std);
}

function layerNorm(x, {weight, bias}) {  // one mean for the image; a weight for each place
  const y = standardize(x.data, statistics(x.data));
  return {data: y.map((value, place) => value * weight.data[place] + bias.data[place]), shape: x.shape};
}

function groupNorm(x, {weight, bias}, numGroups) {  // one mean for each group of channels
  const size = x.data.length / numGroups;
  const y = new Float32Array(x.data.length);
  for (let begin = 0; begin < y.length; begin += size) {
    const group = x.data.subarray(begin, begin + size);
    y.set(standardize(group, statistics(group)), begin);
  }
  return perChannel({data: y, shape: x.shape}, (values, c) => values.map((v) => v * weight.data[c] + bias.data[c]));
}

function batchNorm(x, {weight, bias, running_mean, running_var}) {  // running averages from training: no batch here
  return perChannel(x, (values, c) => standardize(values, {mean: running_mean.data[c], variance: running_var.data[c]})
    .map((value) => value * weight.data[c] + bias.data[c]));
}

function perChannel(x, change) {
  const size = x.shape[1] * x.shape[2];
  const y = new Float32Array(x.data.length);
  for (let c = 0; c < x.shape[0]; c++) y.set(change(x.data.subarray(c * size, (c + 1) * size), c), c * size);
  return {data: y, shape: x.shape};
}

const NORMS = {layer: layerNorm, group: groupNorm, batch: batchNorm};

// 3. The network. Dropout does nothing in evaluation.

/** Logits of one image, 784 pixels from 0 to 255, and its statistics before and after each norm. */
function forward(study, norm, pixels) {
  const {mean, std, num_groups: numGroups} = study.facts;
  const layer = (name) => study.tensors[`${norm}.layers.${name}`];
  let x = {data: Float32Array.from(pixels, (pixel) => (pixel / 255 - mean) / std), shape: [1, 28, 28]};
  const norms = [];
  const block = (index, padding = 0) => {
    const before = relu(conv2d(x, layer(`${index}.0.weight`), padding));
    const parameters = {};
    for (const name of ["weight", "bias", "running_mean", "running_var"]) parameters[name] = layer(`${index}.2.${name}`);
    x = NORMS[norm](before, parameters, numGroups);
    norms.push({before: statistics(before.data), after: statistics(x.data)});
  };
  block(0);                               // (16, 26, 26)
  block(1);                               // (32, 24, 24)
  x = conv2d(x, layer("2.weight"));       // (10, 24, 24)
  x = maxPool(x, 2);                      // (10, 12, 12)
  block(4);                               // (12, 10, 10)
  block(5);                               // (12, 8, 8)
  block(6);                               // (12, 6, 6)
  block(7, 1);                            // (16, 6, 6)
  x = avgPool(x, 6);                      // (16, 1, 1)
  x = conv2d(x, layer("9.weight"));       // (10, 1, 1)
  return {logits: x.data, norms};
}

function softmax(logits) {
  const powers = Array.from(logits, (logit) => Math.exp(logit - Math.max(...logits)));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// 4. A drawing, prepared as MNIST was: ink scaled into 20×20, its centre of mass in the middle of 28×28

/** 784 pixels, 255 = ink, of an ImageData. Ink is what differs from the corner; transparent counts as white. */
function prepare({data, width, height}) {
  const grey = (i) => 255 + (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2] - 255) * data[i + 3] / 255;
  const ink = new Float64Array(width * height);
  const box = {left: width, right: -1, top: height, bottom: -1};
  let [mass, massX, massY] = [0, 0, 0];
  for (let i = 0; i < ink.length; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    ink[i] = Math.abs(grey(4 * i) - grey(0));
    mass += ink[i];
    massX += ink[i] * (x + 0.5);
    massY += ink[i] * (y + 0.5);
    if (ink[i] < 32) continue;
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  if (box.right < 0) return new Uint8Array(784);
  const pixel = Math.max(box.right - box.left + 1, box.bottom - box.top + 1) / 20;  // of the image, in the drawing's
  const inkIn = areaSums(ink, width, height);
  const means = Array.from({length: 784}, (_, i) => {
    const left = massX / mass + (i % 28 - 14) * pixel;
    const top = massY / mass + (Math.floor(i / 28) - 14) * pixel;
    return inkIn(left, top, left + pixel, top + pixel) / pixel ** 2;
  });
  const most = Math.max(...means);
  return Uint8Array.from(means, (value) => Math.round(255 * value / most));
}

/** A function for the sum of values in a rectangle whose edges may cut them. Outside there is nothing. */
function areaSums(values, width, height) {
  const sums = new Float64Array((width + 1) * (height + 1));  // of all that lies above and left of a corner
  for (let y = 0; y < height; y++) {
    let row = 0;
    for (let x = 0; x < width; x++) {
      row += values[y * width + x];
      sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
    }
  }
  const upTo = (x, y) => {
    const [cutX, cutY] = [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
    const [left, top] = [Math.min(Math.floor(cutX), width - 1), Math.min(Math.floor(cutY), height - 1)];
    const [right, down] = [cutX - left, cutY - top];
    const corner = (i, j) => sums[(top + j) * (width + 1) + left + i];
    return (1 - down) * ((1 - right) * corner(0, 0) + right * corner(1, 0)) +
      down * ((1 - right) * corner(0, 1) + right * corner(1, 1));
  };
  return (x0, y0, x1, y1) => upTo(x1, y1) - upTo(x0, y1) - upTo(x1, y0) + upTo(x0, y0);
}

// 5. The data: a safetensors file in base64

function readStudy(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const {__metadata__: metadata, ...entries} = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const tensors = {};
  for (const [name, {dtype, shape, data_offsets: [begin, end]}] of Object.entries(entries)) {
    const content = bytes.slice(start + begin, start + end);
    const data = dtype === "F16" ? Float32Array.from(new Uint16Array(content.buffer), float16) : content;
    tensors[name] = {data, shape};
  }
  return {tensors, facts: JSON.parse(metadata.facts)};
}

function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = bits >> 10 & 31;
  const fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}
