// The page of evidence. Everything it shows is in the element #report (study/evidence.h writes it).
// Text enters the document by textContent alone, so nothing that a file said becomes markup.
'use strict';

const report = JSON.parse(document.getElementById('report').textContent);
const byId = id => document.getElementById(id);

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function quantity(value) {
  for (const [unit, suffix] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (Math.abs(value) >= unit) return (value / unit).toPrecision(4) + suffix;
  }
  return String(value);
}

// As many decimals as the error's second digit needs.
function measured(value, error) {
  if (value === null) return 'no number';
  if (!(error > 0)) return value.toPrecision(5) + (error === 0 ? ' ± 0' : ' ± -');
  const decimals = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(error))));
  return value.toFixed(decimals) + ' ± ' + error.toFixed(decimals);
}

const probability = p => p === null ? 'unknown' :
    p > 0.9999                      ? 'above 0.9999' :
    p < 0.0001                      ? 'below 0.0001' :
                                      p.toFixed(4);

// "512x4,256x8" -> [512, 512, 512, 512, 256, ...]; a skipped layer is 0.
function layersOf(widths) {
  return widths.split(',').flatMap(part => {
    const [width, count] = part.split('x');
    return Array(Number(count || 1)).fill(width === '-' ? 0 : Number(width));
  });
}

// Values of each example: little-endian f32 in base64.
function examplesOf(member) {
  if (!member.examples) return null;
  const bytes = Uint8Array.from(atob(member.examples), c => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({length: bytes.length / 4}, (_, i) => view.getFloat32(4 * i, true));
}

function meanOf(values) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, n < 2 ? NaN : Math.sqrt(squares / (n - 1) / n)];
}

const palette = {};
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['ink', 'faint', 'line', 'cloud', 'front', 'uniform', 'chosen', 'panel']) {
    palette[name] = style.getPropertyValue('--' + name).trim();
  }
  Chart.defaults.color = palette.faint;
  Chart.defaults.borderColor = palette.line;
}

// All records, as pixels of a picture of their own: a call of the canvas for each would take longer
// than everything else on the page. It is drawn again only when axes, size or colours change.
let cloud = {key: '', picture: null};

function drawCloud(width, height, x, y) {
  const pixels = new ImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  const [red, green, blue] = palette.cloud.match(/[0-9a-f]{2}/gi).map(part => parseInt(part, 16));
  const colour = new Uint32Array(Uint8Array.of(red, green, blue, 200).buffer)[0];
  const {cost, value} = group, size = cost.length > 5000 ? 2 : 4;
  const perCost = width / (x.max - x.min), perValue = height / (y.max - y.min);
  for (let i = 0; i < cost.length; ++i) {
    if (value[i] === null) continue;
    const left = Math.round((cost[i] - x.min) * perCost - size / 2);
    const top = Math.round((y.max - value[i]) * perValue - size / 2);
    for (let row = Math.max(0, top); row < Math.min(height, top + size); ++row) {
      for (let at = Math.max(0, left); at < Math.min(width, left + size); ++at) {
        words[row * width + at] = colour;
      }
    }
  }
  const picture = document.createElement('canvas');
  picture.width = width;
  picture.height = height;
  picture.getContext('2d').putImageData(pixels, 0, 0);
  return picture;
}

const cloudPlugin = {
  id: 'cloud',
  beforeDatasetsDraw(chart) {
    const {ctx, chartArea: area, scales: {x, y}} = chart;
    const width = Math.round(area.width * chart.currentDevicePixelRatio);
    const height = Math.round(area.height * chart.currentDevicePixelRatio);
    if (width < 1 || height < 1) return;
    const key = [shownGroup, width, height, x.min, x.max, y.min, y.max, palette.cloud].join();
    if (cloud.key !== key) cloud = {key, picture: drawCloud(width, height, x, y)};
    ctx.drawImage(cloud.picture, area.left, area.top, area.width, area.height);
  }
};

// One standard error up and down from each point that has one, and the budget as a line.
const errorBarPlugin = {
  id: 'errorBars',
  afterDatasetsDraw(chart) {
    const {ctx, chartArea: area, scales: {x, y}} = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(area.left, area.top, area.width, area.height);
    ctx.clip();
    for (const dataset of chart.data.datasets) {
      ctx.strokeStyle = dataset.borderColor;
      ctx.beginPath();
      for (const point of dataset.data) {
        if (!(point.error > 0)) continue;
        const at = x.getPixelForValue(point.x);
        const high = y.getPixelForValue(point.y + point.error);
        const low = y.getPixelForValue(point.y - point.error);
        ctx.moveTo(at, high);
        ctx.lineTo(at, low);
        for (const end of [high, low]) {
          ctx.moveTo(at - 3, end);
          ctx.lineTo(at + 3, end);
        }
      }
      ctx.stroke();
    }
    ctx.strokeStyle = palette.chosen;
    ctx.setLineDash([5, 4]);
    ctx.beginPath();
    const at = x.getPixelForValue(budget());
    ctx.moveTo(at, area.top);
    ctx.lineTo(at, area.bottom);
    ctx.stroke();
    ctx.restore();
  }
};

let group = null;  // what is shown: one model, dataset and dtype
let shownGroup = -1;  // its index
let members = [];  // of its front, by ascending cost
let chosen = 0;    // index of the member that the budget allows
let frontChart = null, differenceChart = null;

const budget = () => Number(byId('budget').value);

const pointOf = member => ({
  x: member.cost,
  y: member.value,
  error: member.error,
  widths: member.widths,
});

function drawFront() {
  const bounds = {min: Infinity, max: -Infinity};
  for (const value of group.value) {
    if (value === null) continue;
    bounds.min = Math.min(bounds.min, value);
    bounds.max = Math.max(bounds.max, value);
  }
  if (!(bounds.max > bounds.min)) {
    const middle = Number.isFinite(bounds.min) ? bounds.min : 0;
    bounds.min = middle - 0.5;
    bounds.max = middle + 0.5;
  }
  // A handful of records that are far worse than the rest would flatten the front.
  const worst = report.larger_wins ? Math.min : Math.max;
  const shown = [...members, ...group.uniform].filter(member => member.value !== null);
  if (shown.length > 1) {
    const values = shown.map(member => member.value);
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || 1) * 1.5;
    if (worst === Math.max)
      bounds.max = Math.min(bounds.max, high + room);
    else
      bounds.min = Math.max(bounds.min, low - room);
  }
  const margin = (bounds.max - bounds.min) * 0.04;
  const range = costRange();
  const costMargin = (range[1] - range[0]) * 0.03 || 1;
  if (frontChart) frontChart.destroy();
  frontChart = new Chart(byId('front'), {
    data: {
      datasets: [
        {
          type: 'line',
          label: 'front',
          data: members.map(pointOf),
          stepped: true,
          borderColor: palette.front,
          backgroundColor: palette.front,
          borderWidth: 1.5,
          pointRadius: 3,
        },
        {
          type: 'scatter',
          label: 'uniform',
          data: group.uniform.map(pointOf),
          borderColor: palette.uniform,
          backgroundColor: palette.uniform,
          pointRadius: 5,
          pointStyle: 'rectRot',
        },
        {
          type: 'scatter',
          label: 'best within the budget',
          data: [],
          borderColor: palette.chosen,
          backgroundColor: palette.chosen,
          pointRadius: 6,
        },
      ],
    },
    options: {
      animation: false,
      parsing: false,
      maintainAspectRatio: false,
      scales: {
        x: {
          type: 'linear',
          min: range[0] - costMargin,
          max: range[1] + costMargin,
          title: {display: true, text: report.cost_axis},
          ticks: {callback: quantity},
        },
        y: {
          min: bounds.min - margin,
          max: bounds.max + margin,
          title: {display: true, text: report.metric_axis},
        },
      },
      plugins: {
        tooltip: {
          callbacks: {
            label: item => `${item.raw.widths}: ${quantity(item.raw.x)}, ` +
                measured(item.raw.y, item.raw.error),
          },
        },
      },
    },
    plugins: [cloudPlugin, errorBarPlugin],
  });
}

function costRange() {
  let low = Infinity, high = -Infinity;
  for (const cost of group.cost) {
    low = Math.min(low, cost);
    high = Math.max(high, cost);
  }
  return [low, high];
}

function showFacts(list, facts) {
  list.replaceChildren(
      ...facts.flatMap(([term, text]) => [element('dt', term), element('dd', text)]));
}

// A word of a command line, for a POSIX shell.
const shellWord = text => /^[\w.,:/=@+-]+$/.test(text) && !text.startsWith('-') ?
    text :
    '\'' + text.replaceAll('\'', '\'\\\'\'') + '\'';

function showChosen() {
  const limit = budget();
  byId('limit').textContent = `${quantity(Math.round(limit))} ${report.cost_axis}`;
  chosen = members.findLastIndex(member => member.cost <= limit);
  const member = members[chosen];
  for (const [i, row] of [...byId('members').rows].entries()) {
    row.className = i === chosen ? 'chosen' : '';
  }
  frontChart.data.datasets[2].data = member ? [pointOf(member)] : [];
  frontChart.update('none');
  byId('strip').replaceChildren();
  byId('export').textContent = '';
  if (!member) {
    showFacts(byId('choice'), [['best', 'no score that is a number is of a submodel that costs so little']]);
    return;
  }
  const facts = [
    ['widths', member.widths],
    ['record', String(member.id)],
    [report.cost_axis, `${quantity(member.cost)} (${member.cost})`],
    [`${report.metric}, ${group.part || 'as scored'}`, measured(member.value, member.error)],
  ];
  if (member.confirmed) {
    facts.push([`${report.metric}, confirm`, measured(...member.confirmed)]);
  }
  const upTo = chosen + 1 < members.length ? 'up to the next member' : 'whatever the budget';
  if (member.bias) facts.push(['search minus confirm', measured(...member.bias)]);
  if (member.bias_of_lead) {
    facts.push(['the same of its lead on the best uniform one', measured(...member.bias_of_lead)]);
  }
  if (member.runner_up) {
    facts.push([
      'better than the runner-up',
      `${probability(member.runner_up.probability)} ` +
          `(${member.runner_up.widths}, ${upTo})`
    ]);
  }
  if (member.best_uniform) {
    facts.push([
      'better than the best uniform one',
      `${probability(member.best_uniform.probability)} ` +
          `(${member.best_uniform.widths})`
    ]);
  }
  showFacts(byId('choice'), facts);
  const layers = layersOf(member.widths);
  byId('strip').replaceChildren(...layers.map((width, layer) => {
    const column = element('div');
    column.title = `layer ${layer}: ${width || 'skipped'}`;
    const bar = element('i');
    bar.style.height = `${70 * width / group.widest}%`;
    column.append(bar);
    if (layers.length <= 40) column.append(element('span', width ? String(width) : '-'));
    return column;
  }));
  byId('export').textContent = `mixnmatch export CHECKPOINT --db ${shellWord(report.db)} ` +
      `--record ${member.id} --out DIR`;
}

function showMembers() {
  byId('members').replaceChildren(...members.map(member => {
    const row = element('tr');
    row.append(
        element('td', String(member.id)), element('td', member.widths, 'text'),
        element('td', quantity(member.cost)), element('td', measured(member.value, member.error)),
        element('td', member.confirmed ? measured(...member.confirmed) : ''),
        element('td', member.p === null ? '' : member.p.toPrecision(2)),
        element(
            'td',
            member.p === null            ? '' :
                member.p <= report.alpha ? 'yes' :
                                           'no'));
    return row;
  }));
}

function showSensitivity() {
  const rows = group.sensitivity || [];
  byId('sensitivity-section').hidden = rows.length === 0;
  const widths = [...new Set(rows.map(row => row.width))].sort((a, b) => a - b);
  const layers = [...new Set(rows.map(row => row.layer))].sort((a, b) => a - b);
  const head = element('tr');
  head.append(element('th', 'layer'), ...widths.map(width => element('th', String(width || '-'))));
  byId('sensitivity').replaceChildren(head, ...layers.map(layer => {
    const line = element('tr');
    line.append(element('td', String(layer)));
    for (const width of widths) {
      const found = rows.find(row => row.layer === layer && row.width === width);
      line.append(element('td', found ? measured(found.value, found.error) : ''));
    }
    return line;
  }));
}

function comparable() {
  const seen = new Set();
  return [...members, ...group.uniform].filter(member => {
    if (!member.examples || seen.has(member.id)) return false;
    return seen.add(member.id);
  });
}

function fillComparison() {
  const list = comparable();
  byId('comparison').hidden = list.length < 2;
  if (list.length < 2) return;
  for (const [id, at] of [['a', list.length - 1], ['b', 0]]) {
    byId(id).replaceChildren(...list.map((member, i) => {
      const option = element('option', `${member.widths}  (${quantity(member.cost)})`);
      option.value = i;
      return option;
    }));
    byId(id).value = at;
  }
  compare();
}

function compare() {
  const list = comparable();
  const a = examplesOf(list[byId('a').value]), b = examplesOf(list[byId('b').value]);
  if (a.length !== b.length) {
    byId('difference').textContent = 'They were scored on different numbers of examples.';
    return;
  }
  const differences = a.map((value, i) => value - b[i]);
  const [mean, error] = meanOf(differences);
  const wins = differences.filter(d => report.larger_wins ? d > 0 : d < 0).length;
  byId('difference').textContent = `A − B = ${measured(mean, error)}` +
      (error > 0 ? ` (${(mean / error).toFixed(1)} standard errors)` : '') +
      `, paired over ${a.length} examples; A is better on ${wins}.`;
  if (differenceChart) differenceChart.destroy();
  differenceChart = new Chart(byId('differences'), {
    type: 'bar',
    data: {
      labels: differences.map((_, i) => i),
      datasets: [{
        data: differences,
        backgroundColor: palette.front,
        barPercentage: 1,
        categoryPercentage: 1,
      }],
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      plugins: {legend: {display: false}},
      scales: {
        x: {title: {display: true, text: 'example'}, grid: {display: false}},
        y: {title: {display: true, text: `A − B, ${report.metric}`}},
      },
    },
  });
}

function showProvenance() {
  showFacts(byId('facts'), [
    ['model', `${group.model.name} (${group.model.family}), ${group.model.fingerprint}`],
    [
      'data',
      `${group.data.name}, ${group.data.sequences} examples of ${group.data.context}, ` +
          group.data.fingerprint
    ],
    ['arithmetic', group.dtype],
    ['store', report.db],
    ['this page', `${report.build}, ${report.created}`],
  ]);
  byId('runs').replaceChildren(...group.runs.map(run => {
    const row = element('tr');
    row.append(
        element('td', String(run.id)), element('td', run.command, 'text'),
        element('td', run.strategy, 'text'), element('td', run.seed), element('td', run.started),
        element('td', run.status, 'text'), element('td', run.device, 'text'),
        element('td', run.build, 'text'), element('td', run.command_line, 'text'));
    return row;
  }));
}

function showGroup(index) {
  group = report.groups[index];
  shownGroup = index;
  members = group.front;
  const [low, high] = costRange();
  const slider = byId('budget');
  slider.min = low;
  slider.max = high;
  slider.step = 'any';
  slider.value = high;
  byId('summary').textContent = `${group.cost.length} records, ${members.length} on the front, ` +
      `${group.distinct} of them distinguishable from each other.`;
  drawFront();
  showMembers();
  showChosen();
  showSensitivity();
  fillComparison();
  showProvenance();
}

function start() {
  readPalette();
  if (report.groups.length === 0) {
    byId('summary').textContent = 'The store has no record that matches.';
    for (const section of document.querySelectorAll('section')) section.hidden = true;
    return;
  }
  byId('group').replaceChildren(...report.groups.map((shown, i) => {
    const option = element(
        'option',
        `${shown.model.name} on ${shown.data.name}` + (shown.part ? `, ${shown.part} part` : '') +
            `, ${shown.dtype}`);
    option.value = i;
    return option;
  }));
  byId('group').addEventListener('change', event => showGroup(event.target.value));
  byId('budget').addEventListener('input', showChosen);
  for (const id of ['a', 'b']) byId(id).addEventListener('change', compare);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    readPalette();
    drawFront();
    showChosen();
    if (!byId('comparison').hidden) compare();
  });
  showGroup(0);
}

start();
