// The canvas: draws strokes of mouse, finger and pen, takes picture files, and sends both while they change.
// Gradio runs this with `element`, which holds all of it, `trigger`, which sends an event, and `watch`, which calls back
// when `props.value`, the answer, has come.

const INK = 0.075; // width of a stroke, as a share of the canvas; scaled to 28 pixels it is some 2 pixels wide
const SENT = 280; // side of the image that is sent, in pixels
const EVERY_MS = 40; // at least, between two sends
const LOST_MS = 10000; // after which an answer counts as lost, as when the queue is full
const MOST_TRIES = 3; // for the same drawing or file
const MOST_BYTES = Number(element.querySelector(".hcr-tab").dataset.mostBytes); // of a file

const canvas = element.querySelector(".hcr-canvas");
const answer = element.querySelector(".hcr-answer");
const chooser = element.querySelector("input[type=file]");
let strokes = []; // lists of points [x, y], each a share of the canvas
let picture = null; // an image that was dropped; it replaces the strokes
let drawing = null; // the id of the pointer that draws
let waiting = null; // what is to be sent next: a function that makes it
let newest = null; // what was sent last
let tries = 0; // of sending that
let sentId = 0; // of the last that was sent
let awaited = null; // the timer of the answer to it; null if none is awaited

function paint(target, ink, paper) {
  const context = target.getContext("2d");
  const side = target.width;
  context.clearRect(0, 0, side, side);
  if (paper) {
    context.fillStyle = paper;
    context.fillRect(0, 0, side, side);
  }
  if (picture) {
    const scale = Math.min(side / picture.naturalWidth, side / picture.naturalHeight);
    const [width, height] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(picture, (side - width) / 2, (side - height) / 2, width, height);
  }
  context.strokeStyle = ink;
  context.lineWidth = INK * side;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0][0] * side, points[0][1] * side);
    for (const [x, y] of points) context.lineTo(x * side, y * side);
    context.stroke();
  }
}

function show() {
  const side = Math.round(canvas.clientWidth * Math.min(3, window.devicePixelRatio || 1));
  if (!side) return; // the tab is hidden
  if (canvas.width !== side) canvas.width = canvas.height = side;
  paint(canvas, getComputedStyle(canvas).color, null);
}

function drawn() {
  if (!strokes.length) return {};
  const sent = document.createElement("canvas");
  sent.width = sent.height = SENT;
  paint(sent, "#fff", "#000");
  return { image: sent.toDataURL("image/png") };
}

// One is sent at a time. While its answer is awaited, only the newest of what follows waits.
function send(make) {
  waiting = make;
  tries = 0;
  if (awaited === null) sendNow();
}

function sendNow() {
  if (waiting === null) return;
  newest = waiting;
  waiting = null;
  sentId += 1;
  tries += 1;
  awaited = setTimeout(lost, LOST_MS);
  trigger("input", { ...newest(), id: sentId });
}

function lost() {
  awaited = null;
  if (waiting === null && tries < MOST_TRIES) waiting = newest;
  sendNow();
}

function answered() {
  clearTimeout(awaited);
  awaited = setTimeout(() => {
    awaited = null;
    sendNow();
  }, EVERY_MS);
}

watch("value", () => {
  if (props.value.id !== sentId) return;
  answer.innerHTML = props.value.html;
  answered();
});

function clear() {
  if (picture) URL.revokeObjectURL(picture.src);
  picture = null;
  strokes = [];
}

function point(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || drawing !== null) return;
  event.preventDefault();
  if (picture) clear();
  drawing = event.pointerId;
  canvas.setPointerCapture(drawing); // a stroke goes on outside the canvas
  strokes.push([point(event)]);
  show();
  send(drawn);
});

canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drawing) return;
  const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  strokes.at(-1).push(...(all.length ? all : [event]).map(point));
  show();
  send(drawn);
});

for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId !== drawing) return;
    drawing = null;
    send(drawn);
  });
}

element.querySelector(".hcr-clear").addEventListener("click", () => {
  clear();
  show();
  send(drawn);
});

element.querySelector(".hcr-undo").addEventListener("click", () => {
  if (picture) clear();
  strokes.pop();
  show();
  send(drawn);
});

function take(file) {
  clear();
  show();
  if (file.size > MOST_BYTES) {
    send(() => ({ name: file.name, size_bytes: file.size }));
    return;
  }
  const reader = new FileReader();
  reader.onload = () => send(() => ({ name: file.name, image: reader.result }));
  reader.readAsDataURL(file);
  const image = new Image();
  image.onload = () => {
    picture = image;
    show();
  }; // a file that the browser cannot show may still be one that the server reads, such as a TIFF
  image.src = URL.createObjectURL(file);
}

element.querySelector(".hcr-open").addEventListener("click", () => chooser.click());
chooser.addEventListener("change", () => {
  if (chooser.files.length) take(chooser.files[0]);
  chooser.value = ""; // so that the same file can be chosen again
});

// A file that misses the canvas must not replace the page.
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
window.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
});

new ResizeObserver(show).observe(canvas);
new MutationObserver(show).observe(document.body, { attributes: true, attributeFilter: ["class"] }); // dark or light
show();
