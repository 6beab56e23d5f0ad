"use strict";
// What explain.js is built of: elements, numbers out of text, tables of maps, painting. Text from outside goes into the
// page as text only, never as markup.

const HEAT = [255, 70, 0], COLD = [0, 90, 255], DEEPEST = 0.72;
const REGION_COLOURS = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233],
                        [240, 228, 66], [150, 75, 200]];
const FRAMES_PER_SECOND = 8;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") node.style.cssText = value; else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const named = (text) => make("bdi", {}, text);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const css = (colour, alpha = 1) => `rgb(${colour.join(" ")} / ${alpha})`;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function bytes(text) { return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)); }
function floats(text) { return new Float32Array(bytes(text).buffer); }

// An attention table: the map of any query cell.
class Table {
  constructor(stored) {
    this.query = stored.query;
    this.map = stored.map;
    this.signed = stored.signed;
    this.length = this.map.reduce((product, side) => product * side, 1);
    this.top = floats(stored.top);
    this.values = bytes(stored.bytes);
  }
  // The cell of a place: grid frame, and row and column as shares in [0, 1] of the frame.
  cell(frame, y, x) {
    const [, rows, columns] = this.query;
    return [frame, clamp(Math.floor(y * rows), 0, rows - 1), clamp(Math.floor(x * columns), 0, columns - 1)];
  }
  // Shares of the map's maximum, in [-1, 1], and that maximum.
  at([frame, row, column]) {
    const number = (frame * this.query[1] + row) * this.query[2] + column;
    const part = this.values.subarray(number * this.length, (number + 1) * this.length);
    const shares = Float32Array.from(part, (value) => this.signed ? (value - 128) / 127 : value / 255);
    return { shares, top: this.top[number] };
  }
}

// Paint shares in [-1, 1] on a canvas of one pixel per cell; the browser stretches it over the frame.
function paint(canvas, shares, rows, columns) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(columns, rows);
  shares.forEach((share, place) => {
    image.data.set([...(share < 0 ? COLD : HEAT), Math.round(255 * DEEPEST * Math.abs(share))], 4 * place);
  });
  context.putImageData(image, 0, 0);
}

function clear(canvas) { canvas.width = canvas.height = 1; }
