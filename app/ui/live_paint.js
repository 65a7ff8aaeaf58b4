// What moves under a held key is painted into the drawing that Plotly made, where that is a matter of moving what is
// there: bars, lines, marks, notes, names. Plotly would draw axes, texts and legend anew, in several times a frame.
// What cannot be painted (`paintable` says so: more notes, other names) is left to Plotly, and so is the scale of an axis
// where the movement rests: until then all is painted in the scale that stands there, whose ticks say it.

const NOTE = ['text', 'x', 'y', 'xanchor', 'yanchor', 'xshift', 'yshift', 'opacity'];
const ENDS = ['x0', 'x1', 'y0', 'y1'];
const START = { left: 0, center: 0.5, right: 1, top: 0, middle: 0.5, bottom: 1 }; // share of a note before its anchor

const axisOf = (node, id) => node._fullLayout[`${id[0]}axis${id.slice(1)}`];
const groupOf = (node, index) => node.calcdata[index][0].node3?.node();
const noteOf = (node, index) => node.querySelector(`.annotation[data-index="${index}"]`);
const lineOf = (node, index) => node.querySelector(`.shapelayer path[data-index="${index}"]`);
const legendOf = (node, index) =>
  [...node.querySelectorAll('.legendtext')].find(one => one.__data__?.[0]?.trace?.index === index);
const hasGap = values => values.some(value => value === null);

// What waits: an axis that says the same a little differently, so that what is painted in the old scale can be seen, and
// texts beside marks, which only make room.
function isLate(node, [where, name, key], now) {
  if (where === 'data') return !!node._fullData[name].mode?.includes('text');
  if (!/^[xy]axis/.test(name)) return false;
  const old = node._fullLayout[name].range, fresh = now(['layout', name, 'range']) ?? old;
  return ['range', 'tickvals', 'ticktext'].includes(key)
    && old.every((end, i) => Math.abs(fresh[i] - end) <= Math.abs(old[1] - old[0]) / 2);
}

// `now(path)`: the value there at the new percentile, or undefined where it is the same at all of them.
function paintable(node, path, now) {
  const [where, index, key] = path;
  if (where === 'data') {
    const trace = node._fullData[index];
    if (trace.visible !== true) return true; // nothing of it is drawn
    if (key === 'name') return path.length === 3 && !!legendOf(node, index) === !!trace.showlegend;
    if (path.length !== 3 || !['x', 'y', 'width'].includes(key)) return false;
    const value = name => now(['data', index, name]) ?? trace[name], group = groupOf(node, index);
    if (!group || axisOf(node, trace.xaxis).autorange || axisOf(node, trace.yaxis).autorange) return false;
    if (trace.type === 'bar') return value('width') != null && (!value('y').length || !!group.querySelector('.point'));
    if (trace.type !== 'scatter' || trace.mode.includes('text') || hasGap(value('x')) || hasGap(value('y'))) return false;
    const drawn = ['.js-line', '.js-fill', '.point'];
    const wanted = [trace.mode.includes('lines'), trace.fill === 'tozeroy', trace.mode.includes('markers')];
    return ['none', 'tozeroy'].includes(trace.fill) && ['linear', 'hv', 'hvh'].includes(trace.line?.shape ?? 'linear')
      && (!value('y').length || drawn.every((one, i) => !wanted[i] || group.querySelectorAll(one).length > 0))
      && group.querySelectorAll('.js-line').length < 2;
  }
  if (path[1] === 'annotations' && path.length === 4) {
    const old = node._fullLayout.annotations[path[2]];
    if (!NOTE.includes(path[3]) || old.xanchor === 'auto' || old.yanchor === 'auto') return false;
    const element = noteOf(node, path[2]);
    return !element || path[3] !== 'text' || sections(now(path)).length === textsOf(element).length;
  }
  return path[1] === 'shapes' && path.length === 4 && ENDS.includes(path[3])
    && node._fullLayout.shapes[path[2]].type === 'line';
}

// Paint the parts at `paths`, all of them paintable. `was`, `now`: the values before and after, as above.
function paint(node, paths, was, now) {
  const some = (list, at) => [...new Set(paths.filter(list).map(path => path[at]))];
  for (const index of some(path => path[0] === 'data' && path[2] === 'name', 1)) {
    const element = legendOf(node, index);
    if (element) write(element, now(['data', index, 'name']));
  }
  for (const index of some(path => path[0] === 'data' && path[2] !== 'name', 1)) {
    const trace = node._fullData[index];
    if (trace.visible !== true) continue;
    const value = name => now(['data', index, name]) ?? trace[name];
    (trace.type === 'bar' ? bars : curve)(node, trace, groupOf(node, index), value);
  }
  for (const index of some(path => path[1] === 'annotations', 2)) note(node, index, was, now);
  for (const index of some(path => path[1] === 'shapes', 2)) straight(node, index, now);
}

// As many elements as there are values: those that are missing are made like the first, those too many are hidden.
function elements(group, selector, count) {
  const all = [...group.querySelectorAll(selector)];
  while (all.length < count) {
    const made = all[0].cloneNode(true);
    all[0].parentNode.append(made);
    all.push(made);
  }
  all.forEach((one, i) => { one.style.display = i < count ? '' : 'none'; });
  return all;
}

function bars(node, trace, group, value) {
  const xaxis = axisOf(node, trace.xaxis), yaxis = axisOf(node, trace.yaxis);
  const [x, y, width] = ['x', 'y', 'width'].map(value);
  const half = (Math.round(trace.marker.line?.width ?? 0) % 2) / 2; // edges lie on whole pixels, as Plotly lays them
  const edge = at => Math.round(at) - half, wide = i => (typeof width === 'number' ? width : width[i]);
  elements(group, '.point', y.length).slice(0, y.length).forEach((one, i) => {
    const [left, right] = [-0.5, 0.5].map(side => edge(xaxis.c2p(x[i] + side * wide(i), true)));
    const [low, high] = [0, y[i]].map(end => edge(yaxis.c2p(end, true)));
    one.querySelector('path').setAttribute('d', y[i] === null ? 'M0,0Z' : `M${left},${low}V${high}H${right}V${low}Z`);
  });
}

function curve(node, trace, group, value) {
  const xaxis = axisOf(node, trace.xaxis), yaxis = axisOf(node, trace.yaxis);
  const round = at => Math.round(at * 100) / 100, ys = value('y');
  const spots = [...value('x')].map((x, i) => [round(xaxis.c2p(x, true)), round(yaxis.c2p(ys[i], true))]);
  const line = group.querySelector('.js-line'), fill = group.querySelector('.js-fill');
  const path = spots.map(([x, y], i) => {
    if (!i) return `M${x},${y}`;
    if (trace.line.shape === 'hv') return `H${x}V${y}`;
    return trace.line.shape === 'hvh' ? `H${round((spots[i - 1][0] + x) / 2)}V${y}H${x}` : `L${x},${y}`;
  }).join('');
  line?.setAttribute('d', path || 'M0,0Z');
  const base = round(yaxis.c2p(0, true));
  fill?.setAttribute('d', path ? `${path}L${spots.at(-1)[0]},${base}L${spots[0][0]},${base}Z` : 'M0,0Z');
  if (trace.mode.includes('markers')) {
    elements(group, '.point', spots.length).slice(0, spots.length).forEach((one, i) => {
      one.setAttribute('transform', `translate(${spots[i]})`);
    });
  }
}

// Texts: what stands between the tags of the short markup that Plotly takes, and the nodes of a drawn text.
const sections = text => text.split(/<[^>]+>/).filter(Boolean);

function textsOf(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) if (walker.currentNode.nodeValue) found.push(walker.currentNode);
  return found;
}

function write(element, text) {
  const nodes = textsOf(element);
  sections(text).forEach((one, i) => { nodes[i].nodeValue = one; });
}

// The width of the longest line of a text, in pixels, without asking the page, which would have to be laid out first.
const pen = document.createElement('canvas').getContext('2d');
function widthOf(text, font) {
  let bold = false;
  const lines = text.split(/<br>/).map(line => line.split(/(<[^>]+>)/).reduce((sum, one) => {
    if (/^<\/?b>$/.test(one)) bold = one === '<b>';
    if (one.startsWith('<')) return sum;
    pen.font = `${bold ? 'bold ' : ''}${font.size}px ${font.family}`;
    return sum + pen.measureText(one).width;
  }, 0));
  return Math.max(...lines);
}

function note(node, index, was, now) {
  const element = noteOf(node, index), full = node._fullLayout.annotations[index];
  if (!element) return; // it lies outside of what is shown
  const at = values => Object.fromEntries(
    NOTE.map(key => [key, values(['layout', 'annotations', index, key]) ?? full[key]]));
  const [old, fresh] = [at(was), at(now)];
  const grown = old.text === fresh.text ? 0 : widthOf(fresh.text, full.font) - widthOf(old.text, full.font);
  const box = element.querySelector('.cursor-pointer'), back = element.querySelector('.bg');
  const text = element.querySelector('.annotation-text');
  const width = Number(back.getAttribute('width')), height = Number(back.getAttribute('height'));
  const place = (ref, one, key) =>
    (ref === 'paper' || ref.endsWith('domain') ? 0 : axisOf(node, ref).c2p(one[key], true)) + (key === 'x' ? 1 : -1) * one[`${key}shift`];
  const left = (one, wide) => place(full.xref, one, 'x') - START[one.xanchor] * wide;
  const top = one => place(full.yref, one, 'y') - START[one.yanchor] * height;
  const [x, y] = box.getAttribute('transform').match(/-?[\d.]+/g).map(Number);
  const moved = [x + left(fresh, width + grown) - left(old, width), y + top(fresh) - top(old)];
  box.setAttribute('transform', `translate(${moved})`);
  if (grown) {
    back.setAttribute('width', width + grown);
    if (text.getAttribute('text-anchor') === 'middle') text.setAttribute('x', Number(text.getAttribute('x')) + grown / 2);
  }
  if (old.text !== fresh.text) write(text, fresh.text);
  element.style.opacity = fresh.opacity;
}

function straight(node, index, now) {
  const element = lineOf(node, index), full = node._fullLayout.shapes[index], size = node._fullLayout._size;
  if (!element) return;
  const end = name => now(['layout', 'shapes', index, name]) ?? full[name];
  const across = (value, ref) => {
    if (ref === 'paper') return size.l + size.w * value;
    const axis = axisOf(node, ref.split(' ')[0]);
    return axis._offset + (ref.endsWith('domain') ? axis._length * value : axis.c2p(value, true));
  };
  const upward = (value, ref) => {
    if (ref === 'paper') return size.t + size.h * (1 - value);
    const axis = axisOf(node, ref.split(' ')[0]);
    return axis._offset + (ref.endsWith('domain') ? axis._length * (1 - value) : axis.c2p(value, true));
  };
  element.setAttribute('d', `M${across(end('x0'), full.xref)},${upward(end('y0'), full.yref)}`
    + `L${across(end('x1'), full.xref)},${upward(end('y1'), full.yref)}`);
}
