// Paints over the canvas of paint.py: with a pointer, or with the arrows and the space bar.
const brush = (c) => Math.max(2, c.width / 16);
const dot = (c, x, y) => {
  const ink = c.getContext("2d");
  ink.fillStyle = "rgb(217, 72, 15)";
  ink.beginPath();
  ink.arc(x, y, brush(c), 0, 7);
  ink.fill();
};
const at = (c, event) => {
  const box = c.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * c.width, (event.clientY - box.top) / box.height * c.height];
};
element.addEventListener("pointerdown", (event) => {
  if (event.target.id !== "mask") return;
  event.target.setPointerCapture(event.pointerId);
  dot(event.target, ...at(event.target, event));
});
element.addEventListener("pointermove", (event) => {
  if (event.target.id === "mask" && event.buttons) dot(event.target, ...at(event.target, event));
});
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
element.addEventListener("keydown", (event) => {
  const c = event.target;
  if (c.id !== "mask" || !(event.key in MOVES || event.key === " ")) return;
  event.preventDefault();
  const place = c.place || [c.width / 2, c.height / 2];
  const [x, y] = MOVES[event.key] || [0, 0];
  c.place = [place[0] + x * brush(c), place[1] + y * brush(c)];
  if (event.key === " ") dot(c, ...c.place);
});
