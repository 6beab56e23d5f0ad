// Draws explain.html from the JSON in the element `data`; see gta/viz/explain_page.py for its fields. Runs after
// explain_parts.js, in the same script.

class Panel {
  constructor(data, place, onQuery) {
    this.data = data;
    this.onQuery = onQuery;
    this.node = place;
    this.backwards = false;
    this.shown = 0;
    this.timer = null;
    this.tables = new Map();
    this.hidden = new Set();
    this.buildPlayer();
    this.buildMaps();
    this.buildMixing();
    this.showFrame(0);
    this.markDirection();
  }

  // ---- the clip, and what it is taken for ----

  buildPlayer() {
    const { data } = this;
    this.node.append(make("h2", {}, named(data.model)));
    this.image = make("img", { alt: "the clip" });
    this.slider = make("input", { type: "range", min: 0, max: data.frames.length - 1, value: 0, "aria-label": "frame" });
    this.slider.addEventListener("input", () => { this.stop(); this.showFrame(Number(this.slider.value)); });
    this.forwards = make("button", { type: "button", "aria-pressed": "false" }, "\u25B6 forwards");
    this.reverse = make("button", { type: "button", "aria-pressed": "false" }, "\u25C0 backwards");
    this.forwards.addEventListener("click", () => this.play(false));
    this.reverse.addEventListener("click", () => this.play(true));
    this.clock = make("span", { class: "note" });
    this.chances = data.predictions.map((prediction) => {
      const bars = make("div", { class: "bars" });
      for (const [name, chance] of prediction.classes) {
        const colour = name === data.explained ? "var(--c1)" : "var(--c0)";
        bars.append(make("div", { class: "label" }, named(name)),
          make("div", { class: "track", style: `--colour:${colour}` },
            make("span", { class: "fill", style: `width:${100 * chance}%` }),
            make("span", { class: "value" }, percent(chance))));
      }
      const heading = prediction.played.startsWith("with") ? prediction.played : `played ${prediction.played}`;
      return make("div", { "data-played": prediction.played }, make("h4", {}, heading), bars);
    });
    this.node.append(make("div", { class: "player" },
      make("div", {}, this.image, make("div", { class: "row" }, this.forwards, this.reverse),
        make("div", { class: "row" }, this.slider, this.clock)),
      make("div", { class: "chances" }, ...this.chances,
        make("p", { class: "note" }, "Orange: ", named(data.explained), ", the class that is explained."))));
  }

  play(backwards) {
    const same = this.timer !== null && this.backwards === backwards;
    this.stop();
    this.backwards = backwards;
    this.markDirection();
    if (same) return;
    const last = this.data.frames.length - 1;
    if (this.shown === (backwards ? 0 : last)) this.showFrame(backwards ? last : 0);
    this.next();
  }

  next() {
    const { seconds, frames } = this.data;
    const following = this.shown + (this.backwards ? -1 : 1);
    if (following < 0 || following >= frames.length) { this.stop(); return; }
    const wait = seconds ? Math.abs(seconds[following] - seconds[this.shown]) : 1 / FRAMES_PER_SECOND;
    this.timer = setTimeout(() => { this.showFrame(following); this.next(); }, 1000 * clamp(wait, 0.04, 1));
    this.markDirection();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.markDirection();
  }

  markDirection() {
    this.forwards.setAttribute("aria-pressed", this.timer !== null && !this.backwards);
    this.reverse.setAttribute("aria-pressed", this.timer !== null && this.backwards);
    const played = this.backwards ? "backwards" : "forwards";
    for (const node of this.chances) node.classList.toggle("now", node.dataset.played === played);
  }

  showFrame(number) {
    this.shown = number;
    this.image.src = this.data.frames[number];
    this.slider.value = number;
    this.clock.textContent = this.frameName(number);
  }

  // Frames, rows and columns count from 0, as for gta explain --query.
  frameName(number) {
    const { seconds } = this.data;
    return seconds ? `frame ${number}, ${seconds[number].toFixed(2)} s` : `frame ${number}`;
  }

  // ---- maps over the frames ----

  buildMaps() {
    const { data } = this;
    this.views = [];
    for (const block of data.blocks) {
      if (block.attention) this.views.push({ label: `attention: ${block.label} (${block.kind})`, block, kind: "attention" });
      if (block.regions) {
        this.views.push({ label: `regions: ${block.label}`, block, kind: "regions" });
        for (let region = 0; region < block.regions.shape[1]; region++) {
          if (!block.regions.shown.includes(region)) this.hidden.add(`${block.name} ${region}`);
        }
      }
    }
    data.classMaps.forEach((maps) => this.views.push({ label: `evidence for: ${maps.name}`, maps, kind: "classes" }));
    if (data.importance) this.views.push({ label: "importance of frames", kind: "importance" });

    this.choice = make("select", {});
    this.views.forEach((view, number) => this.choice.append(make("option", { value: number, dir: "auto" }, view.label)));
    this.choice.addEventListener("change", () => this.draw());
    this.swap = make("input", { type: "checkbox" });
    this.swap.addEventListener("change", () => this.draw());
    this.sharp = make("input", { type: "checkbox" });
    this.sharp.addEventListener("change", () => this.grid.classList.toggle("sharp", this.sharp.checked));
    this.swapLabel = make("label", {}, this.swap, "swapped projections");
    this.stretch = make("input", { type: "checkbox" });
    this.stretch.addEventListener("change", () => this.draw());
    this.stretchLabel = make("label", {}, this.stretch, "stretch from lowest to highest");
    this.regionBox = make("div", { class: "row regions" });
    this.words = make("p", {});
    this.report = make("p", { class: "note value", "aria-live": "polite" });
    this.grid = make("div", { class: "frames", tabindex: 0, role: "group",
      "aria-label": "frames: click a point, or move the marker with the arrow keys" });
    this.cells = data.frames.map((source, number) => this.buildFrame(source, number));
    this.grid.append(...this.cells.map((cell) => cell.node));
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.node.append(make("h3", {}, "What it looks at"),
      make("div", { class: "row" }, make("label", {}, "show", this.choice), this.swapLabel, this.stretchLabel,
        make("label", {}, this.sharp, "sharp cells")),
      this.words, this.regionBox, this.grid, this.report);
  }

  buildFrame(source, number) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const view = make("div", { class: "view" }, make("img", { src: source, alt: this.frameName(number), draggable: "false" }), canvas);
    const bar = make("span", {});
    const meter = make("div", { class: "meter" }, bar);
    const text = make("span", {});
    const node = make("figure", { class: "frame" }, view, meter,
      make("figcaption", {}, this.frameName(number), text));
    const ask = (event) => {
      const box = view.getBoundingClientRect();
      this.onQuery(number / this.data.frames.length, clamp((event.clientY - box.top) / box.height, 0, 1),
        clamp((event.clientX - box.left) / box.width, 0, 1), this);
    };
    view.addEventListener("click", ask);
    view.addEventListener("pointermove", (event) => {  // dragging; a finger that moves scrolls instead
      if (event.pointerType === "mouse" && event.buttons === 1) ask(event);
    });
    return { node, canvas, view, meter, bar, text };
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const frames = this.data.frames.length;
    const table = this.table();
    const [rows, columns] = table ? table.query.slice(1) : [7, 7];
    const { frame, y, x } = this.query;
    const moves = { ArrowUp: [0, -1 / rows, 0], ArrowDown: [0, 1 / rows, 0], ArrowLeft: [0, 0, -1 / columns],
                    ArrowRight: [0, 0, 1 / columns], ",": [-1, 0, 0], ".": [1, 0, 0] };
    if (event.key in moves) {
      const [later, down, right] = moves[event.key];
      const inside = (value, steps) => clamp(value, 0.5 / steps, 1 - 0.5 / steps);
      this.onQuery(clamp(frame + later, 0, frames - 1) / frames, down ? inside(y + down, rows) : y,
        right ? inside(x + right, columns) : x, this);
    } else if (event.key === " ") {
      this.play(this.backwards);
    } else if (event.key.toLowerCase() === "b") {
      this.play(!this.backwards);
    } else {
      return;
    }
    event.preventDefault();
  }

  // Ask at a place: `time` in [0, 1) of the clip, row and column as shares of the frame.
  ask(time, y, x) {
    const count = this.data.frames.length;
    this.query = { frame: clamp(Math.floor(time * count + 1e-6), 0, count - 1), y, x };
    this.cross ??= make("span", { class: "cross" });
    this.cross.style.left = `${100 * x}%`;
    this.cross.style.top = `${100 * y}%`;
    this.cells[this.query.frame].view.append(this.cross);
    this.cells.forEach((cell, number) => cell.node.classList.toggle("current", number === this.query.frame));
    this.draw();
  }

  view() { return this.views[Number(this.choice.value)]; }

  table() {
    const view = this.view();
    if (!view || view.kind !== "attention") return null;
    const which = this.swap.checked && view.block.swapped ? "swapped" : "attention";
    const key = `${view.block.name} ${which}`;
    if (!this.tables.has(key)) this.tables.set(key, new Table(view.block[which]));
    return this.tables.get(key);
  }

  draw() {
    const view = this.view();
    this.regionBox.replaceChildren();
    this.report.textContent = "";
    for (const cell of this.cells) { clear(cell.canvas); this.meterOf(cell, null, ""); }
    this.swapLabel.hidden = !(view && view.kind === "attention" && view.block.swapped);
    this.stretchLabel.hidden = !(view && (view.kind === "attention" || view.kind === "regions"));
    if (!view) { this.words.textContent = "This model has nothing to show here."; return; }
    ({ attention: () => this.drawAttention(view), regions: () => this.drawRegions(view),
       classes: () => this.drawClasses(view), importance: () => this.drawImportance() })[view.kind]();
  }

  meterOf(cell, share, text, less = false) {
    cell.meter.style.visibility = share === null ? "hidden" : "visible";
    cell.meter.classList.toggle("less", less);
    cell.bar.style.width = `${100 * clamp(share ?? 0, 0, 1)}%`;
    cell.text.textContent = text;
  }

  // The grid's frame nearest to a frame of the clip (of two as near, the first).
  nearest(numbers, frame) {
    return numbers.reduce((best, number, place) =>
      Math.abs(number - frame) < Math.abs(numbers[best] - frame) ? place : best, 0);
  }

  drawAttention(view) {
    const { block } = view, table = this.table(), numbers = block.frameNumbers;
    const cell = table.cell(this.nearest(numbers, this.query.frame), this.query.y, this.query.x);
    const { shares, top } = table.at(cell);
    const swapped = this.swap.checked && block.swapped;
    this.words.replaceChildren(block.words);
    if (swapped) this.words.append(" Its query, key and value projections are those of ", named(block.partner || ""), ".");
    if (table.map.length === 1) {
      this.cells.forEach((one, frame) => {
        const place = numbers.indexOf(frame);
        if (place >= 0) this.meterOf(one, Math.abs(shares[place]), percent(shares[place] * top));
      });
    } else {
      const [rows, columns] = table.map.slice(-2), size = rows * columns;
      const sums = numbers.map((_, place) => shares.slice(place * size, (place + 1) * size).reduce((a, b) => a + b, 0));
      const most = Math.max(...sums.map(Math.abs)) || 1;
      const low = this.stretch.checked ? shares.reduce((least, share) => Math.min(least, share), 1) : 0;
      const shown = low > 0 && low < 1 ? shares.map((share) => (share - low) / (1 - low)) : shares;
      this.cells.forEach((one, frame) => {
        const place = this.nearest(numbers, frame);
        if (table.map.length === 2) {
          if (place === cell[0]) paint(one.canvas, shown, rows, columns);
          return;
        }
        paint(one.canvas, shown.subarray(place * size, (place + 1) * size), rows, columns);
        if (numbers[place] === frame) this.meterOf(one, Math.abs(sums[place]) / most, percent(sums[place] * top));
      });
    }
    const where = `cell ${cell[1]}, ${cell[2]} of ${table.query[1]} x ${table.query[2]}`;
    this.report.textContent = `Asked: frame ${this.query.frame}, ${where}. Largest weight: ${
      table.signed ? top.toPrecision(3) : percent(top, 2)}.`;
  }

  drawRegions(view) {
    const { block } = view, [, count, rows, columns] = block.regions.shape, size = rows * columns;
    block.regionBytes ??= bytes(block.regions.bytes);
    this.words.textContent = `${block.words} The stronger the colour, the more a position belongs to the region. The most distinct regions are shown first.`;
    const colour = (region) => REGION_COLOURS[region % REGION_COLOURS.length];
    for (let region = 0; region < count; region++) {
      const key = `${block.name} ${region}`;
      const box = make("input", { type: "checkbox", "aria-label": `region ${region}` });
      box.checked = !this.hidden.has(key);
      box.addEventListener("change", () => {
        if (box.checked) this.hidden.delete(key); else this.hidden.add(key);
        this.paintRegions(block, count, rows, columns, size, colour);
      });
      this.regionBox.append(make("label", { style: `--colour:${css(colour(region))}` }, box, String(region)));
    }
    this.paintRegions(block, count, rows, columns, size, colour);
  }

  paintRegions(block, count, rows, columns, size, colour) {
    const { low, high } = block.regions;
    const visible = [...Array(count).keys()].filter((region) => !this.hidden.has(`${block.name} ${region}`));
    this.cells.forEach((cell, frame) => {
      const start = this.nearest(block.frameNumbers, frame) * count * size;
      cell.canvas.width = columns;
      cell.canvas.height = rows;
      const context = cell.canvas.getContext("2d", { willReadFrequently: true });
      const image = context.createImageData(columns, rows);
      for (let place = 0; place < size; place++) {
        const mixed = [0, 0, 0];
        let total = 0;
        for (const region of visible) {
          const share = block.regionBytes[start + region * size + place] / 255;
          const weight = this.stretch.checked ? share : low[region] + share * (high[region] - low[region]);
          colour(region).forEach((value, channel) => { mixed[channel] += weight * value; });
          total += weight;
        }
        const alpha = Math.round(255 * DEEPEST * Math.min(total, 1));
        image.data.set([...mixed.map((value) => Math.round(value / (total || 1))), alpha], 4 * place);
      }
      context.putImageData(image, 0, 0);
    });
  }

  drawClasses({ maps }) {
    const [, rows, columns] = maps.shape, size = rows * columns;
    maps.values ??= Float32Array.from(bytes(maps.bytes), (value) => value / 255);
    this.words.replaceChildren("Where in each frame the evidence for ", named(maps.name),
      ` is (${maps.method} at ${maps.layer}). Deepest colour: the most evidence in the clip; classes cannot be compared.`);
    this.cells.forEach((cell, frame) => {
      const place = this.nearest(maps.frameNumbers, frame);
      paint(cell.canvas, maps.values.subarray(place * size, (place + 1) * size), rows, columns);
    });
  }

  drawImportance() {
    const { name, groups, lost } = this.data.importance;
    const most = Math.max(...lost.map(Math.abs)) || 1;
    this.words.replaceChildren("By how much the log-odds of ", named(name),
      " change when a frame is left out (and replaced by its neighbour). Orange: they rise.");
    groups.forEach(([first, end], number) => {
      for (let frame = first; frame < end; frame++) {
        const loss = lost[number];
        this.meterOf(this.cells[frame], Math.abs(loss) / most, `${loss < 0 ? "+" : "\u2212"}${Math.abs(loss).toFixed(2)}`,
          loss < 0);
      }
    });
  }

  // ---- learned mixing of frames ----

  buildMixing() {
    const blocks = this.data.blocks.filter((block) => block.mixing);
    if (!blocks.length) return;
    const choice = make("select", {}), part = make("select", {});
    blocks.forEach((block, number) => choice.append(make("option", { value: number }, block.label)));
    const words = make("p", {}), value = make("p", { class: "note value", "aria-live": "polite" });
    const influence = make("canvas", { class: "influence", role: "img", "aria-label": "Influence of each frame on each other" });
    const matrix = make("canvas", { class: "matrix", role: "img", "aria-label": "The chosen matrix M" });
    const fill = () => {
      const { mixing } = blocks[Number(choice.value)];
      part.replaceChildren(...mixing.order.map((number) => make("option", { value: number },
        `group ${Math.floor(number / mixing.heads)}, head ${number % mixing.heads} (mean |M| ${mixing.strength[number].toPrecision(2)})`)));
      words.textContent = mixing.words;
      draw();
    };
    const draw = () => {
      const { mixing } = blocks[Number(choice.value)], size = mixing.frames ** 2, number = Number(part.value);
      mixing.values ??= Float32Array.from(bytes(mixing.bytes), (one) => (one - 128) / 127);
      const flat = mixing.influence.flat(), most = Math.max(...flat) || 1;
      this.mixed = { frames: mixing.frames, influence: flat,
        matrix: mixing.values.slice(number * size, (number + 1) * size).map((one) => one * mixing.top) };
      paint(influence, flat.map((one) => one / most), mixing.frames, mixing.frames);
      paint(matrix, mixing.values.subarray(number * size, (number + 1) * size), mixing.frames, mixing.frames);
      value.textContent = "Point at a cell to read it.";
    };
    const read = (canvas, which) => (event) => {
      const box = canvas.getBoundingClientRect(), { frames } = this.mixed;
      const from = clamp(Math.floor((event.clientX - box.left) / box.width * frames), 0, frames - 1);
      const to = clamp(Math.floor((event.clientY - box.top) / box.height * frames), 0, frames - 1);
      const number = this.mixed[which][to * frames + from];
      value.textContent = `from frame ${from} to frame ${to}: ${which === "influence" ? percent(number) : number.toPrecision(3)}`;
    };
    for (const event of ["pointermove", "click"]) {
      influence.addEventListener(event, read(influence, "influence"));
      matrix.addEventListener(event, read(matrix, "matrix"));
    }
    choice.addEventListener("change", fill);
    part.addEventListener("change", draw);
    const framed = (canvas, caption) => make("figure", {}, make("div", { class: "axes" },
      make("span", { class: "to" }, "to frame (first on top)"), canvas, make("span", { class: "from" }, "from frame (first on the left)")),
      make("figcaption", {}, caption));
    this.node.append(make("h3", {}, "How it mixes frames"),
      make("p", {}, "Left: measured in this clip, how much each frame changes each other frame. Right: one of the learned " +
        "matrices M, the same for every clip; red adds, blue subtracts."),
      words,
      make("div", { class: "row" }, make("label", {}, "block", choice), make("label", {}, "matrix", part)),
      make("div", { class: "mixing" }, framed(influence, "influence"), framed(matrix, "M")), value);
    fill();
  }
}

const { panels } = JSON.parse(document.getElementById("data").textContent);
const place = document.getElementById("panels");
place.classList.toggle("two", panels.length > 1);
const drawn = panels.map((data) => {
  const node = make("section", { class: "panel" });
  place.append(node);
  return new Panel(data, node, (time, y, x, asked) => {
    for (const panel of drawn) if (panel !== asked) panel.ask(time, y, x);
    asked.ask(time, y, x);
  });
});
const [frame, row, column] = panels[0].query, [height, width] = panels[0].size;
drawn.forEach((panel) => panel.ask(frame / panels[0].frames.length, (row + 0.5) / height, (column + 0.5) / width));

// Inside another page: tell it how high this one is, so that it makes room and nothing scrolls within it.
if (window.parent !== window) {
  const tell = () => window.parent.postMessage({ explainHeight: document.body.offsetHeight }, "*");
  tell(); // what is out of sight is not drawn, and not observed
  window.addEventListener("load", tell);
  new ResizeObserver(tell).observe(document.body);
}
