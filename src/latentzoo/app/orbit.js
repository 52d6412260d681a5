// Turns the views of orbit.py: dragged with a pointer, or by the left and right arrows.
const turn = (orbit, to) => {
  const views = orbit.querySelectorAll("img");
  const now = Math.max(0, Math.min(views.length - 1, to));
  views.forEach((view, i) => { view.hidden = i !== now; });
  orbit.setAttribute("aria-valuenow", now);
};
const now = (orbit) => Number(orbit.getAttribute("aria-valuenow"));
let from = null;
element.addEventListener("pointerdown", (event) => {
  const orbit = event.target.closest(".orbit");
  if (!orbit) return;
  event.preventDefault();
  orbit.focus();
  orbit.setPointerCapture(event.pointerId);
  from = [event.clientX, now(orbit)];
});
element.addEventListener("pointermove", (event) => {
  const orbit = event.target.closest(".orbit");
  if (!orbit || !from || !event.buttons) return;
  const views = orbit.querySelectorAll("img").length;
  turn(orbit, from[1] + Math.round((event.clientX - from[0]) / orbit.clientWidth * views));
});
element.addEventListener("pointerup", () => { from = null; });
element.addEventListener("keydown", (event) => {
  const orbit = event.target.closest(".orbit");
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!orbit || !step) return;
  event.preventDefault();
  turn(orbit, now(orbit) + step);
});
