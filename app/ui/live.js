// The percentile while it moves. A chart shows what the sidebar's slider shows, whichever of them was first: the figure
// of the server, or, from the film of all percentiles, what it would be. While an arrow key is held the slider only
// shows its value; where the movement ends it tells the server, once. A drag does that by itself.

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
const NEARBY = ['pointerover', 'focusin', 'touchstart', 'keydown']; // somebody comes near the slider
const REST = 120; // milliseconds without a step in which the scales of a chart are drawn anew
const live = new Set(); // the charts of this page that have a film, here or to be fetched
let held = null; // the arrow key that is down

// The sidebar's, or on a narrow screen the one under the chart; of two, the one in use.
const PLACES = ':is(.st-key-spec_p, .st-key-spec_p_here)';
function slider() {
  const all = [...document.querySelectorAll(`${PLACES} input[type=range]`)];
  const inUse = all.find(one => one === document.activeElement); // asked first: whether one is in sight takes a layout
  return inUse ?? all.filter(one => one.offsetParent).at(-1) ?? null;
}

// The percentile of the slider, null where there is none.
function shownP() {
  const input = slider();
  return input && !input.disabled ? Number(input.value) : null;
}

// The block that `app/charts/film.py` writes: paths, and the value of each at a percentile.
function readFilm(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const parts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const numbers = new Float32Array(buffer, 4 + length);
  for (const part of parts) {
    part.name = part.path.join(' ');
    const from = p => (p ? part.ends[p - 1] : part.start); // of numbers: where those of a percentile begin
    part.at = part.ends
      ? p => Array.from(numbers.subarray(from(p), part.ends[p]), value => (Number.isNaN(value) ? null : value))
      : p => part.values[part.index[p]];
    part.same = part.ends
      ? (p, q) => part.ends[p] - from(p) === part.ends[q] - from(q)
        && numbers.subarray(from(p), part.ends[p]).every((value, i) => Object.is(value, numbers[from(q) + i]))
      : (p, q) => part.index[p] === part.index[q];
  }
  return { parts, byName: new Map(parts.map(part => [part.name, part])) };
}

// What stands at a path of the figure at a percentile; undefined where it is the same at all of them.
function valueAt(film, path, p) {
  for (let length = path.length; length > 1; length--) {
    const part = film.byName.get(path.slice(0, length).join(' '));
    if (part) return path.slice(length).reduce((one, key) => one?.[key], part.at(p));
  }
  return undefined;
}

// The paths at which two values differ, as far in as they are alike.
function leaves(path, one, two) {
  const isObject = value => value !== null && typeof value === 'object';
  const ofParts = value => isObject(value) && (!Array.isArray(value) || value.some(isObject));
  if (ofParts(one) && ofParts(two) && Object.keys(one).join() === Object.keys(two).join())
    return Object.keys(one).flatMap(key => leaves([...path, Array.isArray(one) ? Number(key) : key], one[key], two[key]));
  return JSON.stringify(one) === JSON.stringify(two) ? [] : [path];
}

// A film is fetched once, when it is about to be needed. Where it does not come, steps are the server's, as ever.
async function fetchFilm(chart) {
  if (chart.film !== undefined || !chart.live) return;
  const { live: { film } } = chart;
  chart.film = null;
  const answer = await fetch(addressOf(film)).catch(() => null);
  if (!answer?.ok || chart.live?.film !== film) return;
  chart.film = readFilm(await answer.arrayBuffer());
  step();
}

// Every chart follows the slider.
function step() {
  for (const chart of live) if (chart.film && chart.shown !== shownP()) after(chart, follow);
}

// The percentile that a chart is to show: the slider's, where it has a film, else that of its figure.
function wantedP(chart) {
  const p = chart.film ? shownP() : null;
  return p === null || p >= 100 ? chart.live?.p : p;
}

function follow(chart) {
  const p = wantedP(chart), was = chart.shown;
  if (!chart.text || p === was) return undefined;
  const changed = chart.film.parts.filter(part => !part.same(was, p));
  const paths = changed.flatMap(part => (part.ends ? [part.path] : leaves(part.path, part.at(was), part.at(p))));
  const now = path => valueAt(chart.film, path, p), before = path => valueAt(chart.film, path, was);
  say(chart, p);
  const late = paths.filter(path => isLate(chart.node, path, now));
  const others = paths.filter(path => !late.includes(path));
  if (!others.every(path => paintable(chart.node, path, now))) return plot(chart);
  paint(chart.node, others, before, now);
  chart.shown = p;
  chart.late ||= late.length > 0;
  clearTimeout(chart.rest);
  if (chart.late) chart.rest = setTimeout(() => after(chart, plot), REST);
  return undefined;
}

// Make of a figure what it is at another percentile. What only a pointer reads is not in the film: nothing is pointed at
// until the server's figure is there.
function move(figure, film, p) {
  for (const part of film.parts) {
    const inner = part.path.slice(0, -1).reduce((one, key) => one[key], figure);
    inner[part.path.at(-1)] = part.at(p);
  }
}

// A line at the chart says which percentile it shows, as long as that is not yet the one that the page is about.
function say(chart, p) {
  const moving = p !== chart.live?.p, moved = chart.node.classList.contains('ash-moving');
  if (moving === moved && !moving) return;
  chart.readout.textContent = moving ? `p = ${p} %` : '';
  chart.node.classList.toggle('ash-moving', moving);
  if (moving && !moved) window.Plotly.Fx.unhover(chart.node);
  if (!moving && chart === [...live][0]) announce(`p = ${p} %. ${chart.node.getAttribute('aria-label')}`);
}

// For screen readers, where a movement has ended: what the first chart shows now.
function announce(text) {
  let place = document.querySelector('.ash-announced');
  if (!place) {
    place = document.createElement('div');
    place.className = 'ash-announced';
    place.setAttribute('role', 'status');
    document.body.append(place);
  }
  place.textContent = text;
}

// Keys: the slider of Streamlit would tell the server of every step.

const setValue = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;

function onKey(event) {
  const input = slider(), way = STEPS[event.key];
  if (!way || event.target !== input || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
  if (![...live].some(chart => chart.film)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  held = event.key;
  const value = Math.min(Math.max(Number(input.value) + way, Number(input.min)), Number(input.max));
  if (value === Number(input.value)) return;
  setValue.call(input, String(value)); // an input event moves the slider, and is no end of a movement
  input.dispatchEvent(new Event('input', { bubbles: true }));
}

// To the slider a press on its thumb and the release after it are a movement that ends where it is. The key after it has
// the focus shown as that of a keyboard again.
function release() {
  if (!held) return;
  const key = held, input = slider();
  held = null;
  if (!input) return;
  const pointer = { bubbles: true, cancelable: true, button: 0, pointerId: 1, pointerType: 'mouse' };
  input.dispatchEvent(new PointerEvent('pointerdown', pointer));
  window.dispatchEvent(new PointerEvent('pointerup', pointer));
  input.dispatchEvent(new KeyboardEvent('keyup', { key, bubbles: true }));
}

function listenToSlider() {
  if (window.ashListening) return;
  window.ashListening = true;
  const near = event => {
    if (event.target.closest?.(PLACES)) live.forEach(fetchFilm);
  };
  for (const kind of NEARBY) document.addEventListener(kind, near, { capture: true, passive: true });
  window.addEventListener('keydown', onKey, true);
  window.addEventListener('keyup', event => event.key === held && release(), true);
  window.addEventListener('blur', release);
  document.addEventListener('focusout', event => event.target === slider() && release(), true);
  // Whatever moves it: the text of its value is set with every step.
  new MutationObserver(step).observe(document.body, { subtree: true, attributeFilter: ['aria-valuetext', 'value'] });
}
