// A chart that keeps its node: what is new in a figure is changed in what stands there. The zoom, the legend and the
// pointer's label stay, and nothing flickers. `data` holds JSON: {figure, config, filename, alt, picks, live}.

const charts = new WeakMap(); // the component's element -> {node, text, pick, ...}
const FULL = {
  width: 24,
  height: 24,
  path: 'M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z',
};

// A camera, and an arrow down onto a line.
const CAMERA = { width: 24, height: 24, path: 'M9 4 7 7H3v13h18V7h-4l-2-3zM12 9a4.5 4.5 0 0 1 0 9 4.5 4.5 0 0 1 0-9z' };
const VECTOR = { width: 24, height: 24, path: 'M11 3h2v9h4l-5 6-5-6h4zM4 20h16v2H4z' };
const PRINTER = { width: 24, height: 24, path: 'M7 3h10v4H7zM4 8h16v9h-3v-4H7v4H4zM8.5 14.5h7V21h-7z' };

// A finger scrolls the page and taps marks: it does not draw a zoom, and there is no pointer to show buttons to.
const FINGER = window.matchMedia('(pointer: coarse)').matches;

// On this server: below the address that the page's own scripts come from.
function addressOf(name) {
  const own = document.querySelector('script[src*="static/js/"]')?.src ?? `${location.origin}/static/js/`;
  return own.slice(0, own.indexOf('static/js/')) + name;
}

// Plotly is loaded once.
function plotly() {
  window.ashPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = addressOf('%ADDRESS%');
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error('This chart cannot be drawn, as its program does not load. Reload the page.'));
    document.head.append(script);
  });
  return window.ashPlotly;
}

// A film of Plotly's that is paused ends with a promise that it breaks and that nobody has: no fault of the page's.
let pausedAt = -Infinity;
window.addEventListener('unhandledrejection', event => {
  if (event.reason === undefined && performance.now() - pausedAt < 100) event.preventDefault();
});

function begin(element) {
  const chart = { node: document.createElement('div'), said: '', text: '', drawing: Promise.resolve() };
  chart.node.className = 'ash-chart';
  chart.node.setAttribute('role', 'figure');
  chart.readout = document.createElement('div');
  chart.readout.className = 'ash-readout';
  chart.readout.setAttribute('aria-hidden', 'true'); // the slider says it itself
  element.style.position = 'relative';
  element.append(chart.readout, chart.node);
  chart.buttons = {
    displayModeBar: FINGER ? false : 'hover',
    modeBarButtonsToAdd: [
      { name: 'png', title: 'Download plot as PNG', icon: CAMERA, click: () => save(chart, { format: 'png', scale: 2 }) },
      { name: 'svg', title: 'Download plot as SVG', icon: VECTOR, click: () => save(chart, { format: 'svg' }) },
      { name: 'pdf', title: 'Print plot, or save it as PDF', icon: PRINTER, click: () => print(chart) },
      { name: 'fullscreen', title: 'Full screen', icon: FULL, click: () => fullScreen(chart.node) },
    ],
  };
  chart.size = new ResizeObserver(() => after(chart, fit));
  chart.size.observe(chart.node);
  charts.set(element, chart);
  return chart;
}

// One thing at a time: Plotly does not like to be asked while it draws. Of a chart that has left the page, nothing more.
function after(chart, act) {
  chart.drawing = chart.drawing.then(() => (chart.gone ? undefined : act(chart))).catch(error => {
    if (chart.gone) return;
    if (!chart.text) chart.node.textContent = error.message;
    console.error(error);
  });
}

// As it stands, zoom and all. The file's name says the method, so it is no part of the config: Plotly draws a chart of
// another config wholly anew, and its zoom is gone.
function save(chart, how) {
  const { width, height } = chart.node._fullLayout;
  return window.Plotly.downloadImage(chart.node, { filename: chart.filename, width, height, ...how });
}

// The same on a page of its size, in the colours of the screen: what is printed into a file is a PDF, its letters text.
async function print(chart) {
  const { width, height } = chart.node._fullLayout;
  const drawing = await window.Plotly.toImage(chart.node, { format: 'svg', width, height, imageDataOnly: true });
  const style = `${fontFaces()} @page { size: ${width}px ${height}px; margin: 0 }
    body { margin: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact }
    svg { display: block } .updatemenu-container, .slider-container { display: none }`;
  const frame = document.createElement('iframe');
  frame.className = 'ash-printed';
  frame.srcdoc = `<!doctype html><title>${chart.filename}</title><style>${style}</style>${drawing}`;
  frame.onload = async () => {
    await frame.contentDocument.fonts.ready;
    frame.contentWindow.onafterprint = () => frame.remove();
    frame.contentWindow.print();
  };
  document.body.append(frame);
}

// The page's own fonts, for a document that does not share them: labels are as wide as they were laid out.
function fontFaces() {
  const own = [...document.styleSheets].filter(({ href }) => !href || new URL(href).origin === location.origin);
  const rules = own.flatMap(sheet => [...sheet.cssRules].map(rule => [rule, sheet.href]));
  return rules.filter(([rule]) => rule instanceof CSSFontFaceRule).map(([rule, base]) => rule.cssText.replace(
    /url\(["']?([^"')]+)["']?\)/g, (_, place) => `url("${new URL(place, base ?? document.baseURI)}")`)).join(' ');
}

function fullScreen(node) {
  if (document.fullscreenElement) document.exitFullscreen();
  else node.requestFullscreen();
}

// As wide as its place; as high as the figure says, or as the screen.
function fit(chart) {
  const full = document.fullscreenElement === chart.node;
  const width = chart.node.clientWidth;
  if (width && chart.text !== chart.said) return draw(chart); // it was not on the page when it was to be drawn
  if (!chart.text || !width || (width === chart.width && full === chart.full)) return undefined;
  return plot(chart);
}

// A zoom is kept as long as the axes mean the same.
function axesOf(layout) {
  const axes = Object.keys(layout).filter(name => /^[xy]axis/.test(name)).sort();
  return JSON.stringify(axes.map(name => [name, layout[name].title?.text, layout[name].range, layout[name].type]));
}

const idOf = point => [point?.customdata].flat()[0];

function listen(chart) {
  const point = yes => {
    for (const area of chart.node.querySelectorAll('.nsewdrag')) area.style.cursor = yes ? 'pointer' : '';
  };
  // A swipe that ends on a mark is no tap, and after a tap browsers send the click of a mouse as well.
  let touch = { over: true, at: -Infinity };
  const heard = { capture: true, passive: true };
  chart.node.addEventListener('touchstart', event => {
    const { clientX, clientY } = event.touches[0];
    if (!event.isTrusted) return; // our own, below
    touch = { clientX, clientY, over: false, at: performance.now(), rail: event.target.closest('.slider-container') && event };
    const target = event.target.closest('.nsewdrag'); // Plotly would take what was last pointed at
    if (target) window.Plotly.Fx.hover(chart.node, { clientX, clientY, target }, target.dataset.subplot);
    // No drag, on a screen that has a mouse as well; and a slider's begins once the finger has gone sideways.
    if (touch.rail || event.target.closest('.draglayer')) event.stopPropagation();
  }, heard);
  chart.node.addEventListener('touchmove', event => {
    const { clientX, clientY } = event.touches[0];
    const across = Math.abs(clientX - touch.clientX), down = Math.abs(clientY - touch.clientY);
    touch.over ||= Math.hypot(across, down) > 10;
    if (!touch.rail || Math.max(across, down) < 6) return;
    const { touches, targetTouches, changedTouches, target } = touch.rail;
    touch.rail = null;
    if (across > down)
      target.dispatchEvent(new TouchEvent('touchstart', { touches, targetTouches, changedTouches, bubbles: true, cancelable: true }));
  }, heard);
  chart.node.on('plotly_click', event => {
    const id = idOf(event.points[0]), touched = performance.now() - touch.at < 1500;
    if (!chart.picks || id == null || chart.shown !== chart.live?.p || (touched && touch.over)) return;
    touch.over = true;
    chart.pick(String(id));
  });
  chart.node.on('plotly_animationinterrupted', () => { pausedAt = performance.now(); });
  chart.node.on('plotly_hover', event => point(chart.picks && idOf(event.points[0]) != null));
  chart.node.on('plotly_unhover', () => point(false));
}

async function draw(chart) {
  const said = chart.said;
  if (said === chart.text) return;
  const { figure, config, filename, alt, picks, live: film } = JSON.parse(said);
  [chart.picks, chart.filename] = [picks, filename];
  chart.node.setAttribute('aria-label', alt);
  chart.height = figure.layout.height ?? 450;
  chart.node.style.minHeight = `${chart.height}px`; // its place, while Plotly is loaded
  const Plotly = await plotly();
  if (chart.gone || !chart.node.isConnected) return;
  const first = !chart.text, sameFilm = !!film && film.film === chart.live?.film;
  chart.text = said;
  chart.revision = sameFilm ? chart.revision : axesOf(figure.layout);
  if (!sameFilm) chart.film = undefined;
  [chart.figure, chart.config, chart.live] = [figure, config, film];
  if (film) live.add(chart);
  else live.delete(chart);
  await plot(chart);
  if (first) listen(chart);
  if (film && document.activeElement === slider()) fetchFilm(chart);
}

// The figure, at the percentile of the slider where that is ahead of it.
async function plot(chart) {
  chart.width = chart.node.clientWidth;
  chart.full = document.fullscreenElement === chart.node;
  const strip = parseFloat(getComputedStyle(chart.node).paddingTop); // of the buttons, in full screen
  const size = { width: chart.width, height: chart.full ? chart.node.clientHeight - strip : chart.height };
  const p = wantedP(chart);
  const figure = structuredClone(chart.figure); // Plotly takes other arrays for other values, which may be painted over
  if (p !== chart.live?.p) move(figure, chart.film, p);
  figure.layout = { uirevision: chart.revision, ...figure.layout, ...size };
  if (FINGER) figure.layout.dragmode = false;
  const film = figure.layout.sliders?.[0]; // Play goes on from what is shown, not from where it was stopped before
  const frame = () => { if (film) chart.node._fullLayout._currentFrame = film.steps[film.active ?? 0]?.label; };
  if (chart.node._fullLayout) frame(); // its own slider goes to the frame that stands here when it is drawn
  await window.Plotly.react(chart.node, { ...figure, config: { ...chart.config, ...chart.buttons } });
  frame();
  [chart.shown, chart.late] = [p, false];
  clearTimeout(chart.rest);
  say(chart, p);
}

function end(element, chart) {
  chart.gone = true;
  chart.size.disconnect();
  clearTimeout(chart.rest);
  charts.delete(element);
  live.delete(chart);
  chart.readout.remove();
  chart.node.remove();
  chart.drawing.then(() => window.Plotly?.purge(chart.node));
}

export default function ({ data, parentElement, setTriggerValue }) {
  const chart = charts.get(parentElement) ?? begin(parentElement);
  clearTimeout(chart.ending);
  chart.pick = id => setTriggerValue('picked', id);
  listenToSlider();
  chart.said = typeof data === 'string' ? data : new TextDecoder().decode(data);
  after(chart, draw);
  // Streamlit also calls this between two figures in the same place, when runs come fast: the chart stays then.
  return () => { chart.ending = setTimeout(end, 0, parentElement, chart); };
}
