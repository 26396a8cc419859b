// The two pictures, the brushes and the strip. `element`, `trigger`, `props` and `watch` are Gradio's.
const find = (name) => element.querySelector(name);
const before = find(".before canvas"), now = find(".now canvas"), strip = find(".strip");
const SKETCH = "#00b4ff"; // of what is sketched, which has no colour of its own
const sizes = { colour: 4, sketch: 4, warp: 12 }; // each brush's own, in hundredths of the longer side
let brush = "colour";
let side = [1, 1]; // width and height in the picture's pixels
let points = null; // of the stroke under way
let held = null; // the picture under a patch that is being dragged
let latest = 0; // a picture that loads late must not replace a newer one

const loaded = (address) => new Promise((done) => {
  const image = new Image();
  image.onload = () => done(image);
  image.src = address;
});

function draw(canvas, image) {
  const scale = Math.max(1, Math.floor(384 / Math.max(image.width, image.height)));
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return [pen, scale];
}

async function show() {
  const state = props.value, turn = ++latest;
  const [earlier, present] = await Promise.all([loaded(state.before), loaded(state.now)]);
  if (turn !== latest) return;
  draw(before, earlier);
  const [pen, scale] = draw(now, present);
  side = [present.width, present.height];
  for (const [x, y, colour] of state.painted) { // a dot in each pixel that is held to a colour
    pen.fillStyle = colour;
    pen.fillRect((x + 0.35) * scale, (y + 0.35) * scale, 0.3 * scale, 0.3 * scale);
  }
  pen.fillStyle = SKETCH;
  for (const [x, y] of state.sketched) pen.fillRect((x + 0.2) * scale, (y + 0.4) * scale, 0.6 * scale, 0.2 * scale);
  strip.replaceChildren(...state.strip.map((address, number) => {
    const image = new Image();
    image.src = address;
    image.alt = `picture ${number + 1} of the path`;
    image.onclick = () => trigger("pick", { number });
    return image;
  }));
  for (const [name, address] of Object.entries(state.files)) {
    const link = find(`a[download="${name}"]`);
    link.href = address || "";
    link.hidden = !address;
  }
  const edited = state.files["edited.png"];
  find(".edited").hidden = !edited;
  if (edited) find(".edited img").src = edited;
  element.dataset.shown = state.turn;
}

const radius = () => find(".radius").value / 100 * Math.max(...side);

function add(event) {
  const box = now.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * side[0], y = (event.clientY - box.top) / box.height * side[1];
  const last = points[points.length - 1];
  if (last && Math.hypot(x - last[0], y - last[1]) < 0.25) return;
  points.push([x, y]);
  brush === "warp" ? drag() : line(last || [x, y], [x, y]);
}

function line(from, to) {
  const pen = now.getContext("2d"), scale = now.width / side[0];
  pen.strokeStyle = brush === "sketch" ? SKETCH : find(".colour").value;
  pen.lineWidth = 2 * radius() * scale;
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(...from.map((one) => one * scale));
  pen.lineTo(...to.map((one) => one * scale));
  pen.stroke();
}

function drag() {
  const pen = now.getContext("2d"), scale = now.width / side[0];
  const [start, end] = [points[0], points[points.length - 1]];
  const place = start.map((one) => (one - radius()) * scale), length = 2 * radius() * scale;
  const [x, y] = start.map((one, axis) => place[axis] + Math.round(end[axis] - one) * scale);
  pen.drawImage(held, 0, 0);
  pen.drawImage(held, ...place, length, length, x, y, length, length);
  pen.strokeStyle = SKETCH;
  pen.lineWidth = 2;
  pen.strokeRect(...place, length, length);
  pen.strokeRect(x, y, length, length);
}

for (const choice of element.querySelectorAll(".brushes input")) {
  choice.onchange = () => {
    sizes[brush] = find(".radius").value;
    brush = choice.value;
    find(".radius").value = sizes[brush];
  };
}
now.onpointerdown = (event) => {
  event.preventDefault();
  now.setPointerCapture(event.pointerId);
  points = [];
  held = Object.assign(document.createElement("canvas"), { width: now.width, height: now.height });
  held.getContext("2d").drawImage(now, 0, 0);
  add(event);
};
now.onpointermove = (event) => points && event.getCoalescedEvents().concat(event).forEach(add);
now.onpointerup = now.onpointercancel = () => {
  if (points) trigger("paint", { brush, colour: find(".colour").value, radius: radius(), points });
  points = null;
};
watch("value", show);
show();
