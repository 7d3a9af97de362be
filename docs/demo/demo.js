// The page: draws the maze, the trace and the hits, and lets the reader interfere.

import { Agent, sample } from "./agent.js";
import { generator, Maze, STEPS } from "./maze.js";

const element = (id) => document.getElementById(id);
const seed = Number(new URLSearchParams(location.search).get("seed") ?? Math.floor(Math.random() * 2 ** 31));
const random = generator(seed);
const maze = new Maze(random);
const lifetimes = []; // of those that are over: hits, and whether they were interfered with
const path = [];
let agent = null;
let observation = null;
let running = true;
let interfered = false;
let hitSteps = [];
let shown = "#1f6feb";

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { wall: of("--wall"), free: of("--free"), agent: of("--accent"), goal: of("--goal"), path: of("--path") };
}

function drawMaze() {
  const canvas = element("maze");
  const context = canvas.getContext("2d");
  const unit = canvas.width / maze.width;
  const palette = colours();
  shown = palette.agent;
  maze.walls.forEach((cells, row) =>
    cells.forEach((wall, column) => {
      context.fillStyle = wall ? palette.wall : palette.free;
      context.fillRect(column * unit, row * unit, Math.ceil(unit), Math.ceil(unit));
    }),
  );
  context.strokeStyle = palette.path;
  context.lineWidth = unit / 8;
  context.lineJoin = "round";
  context.beginPath();
  path.forEach(({ place, jump }, k) => {
    const [x, y] = [(place[1] + 0.5) * unit, (place[0] + 0.5) * unit];
    if (k === 0 || jump) context.moveTo(x, y);
    else context.lineTo(x, y);
  });
  context.stroke();
  context.strokeStyle = palette.goal;
  context.lineWidth = unit / 7;
  context.beginPath();
  context.arc((maze.goal[1] + 0.5) * unit, (maze.goal[0] + 0.5) * unit, unit * 0.3, 0, 2 * Math.PI);
  context.stroke();
  context.fillStyle = palette.agent;
  context.beginPath();
  context.arc((maze.place[1] + 0.5) * unit, (maze.place[0] + 0.5) * unit, unit * 0.26, 0, 2 * Math.PI);
  context.fill();
}

function drawTrace() {
  const canvas = element("trace");
  const n = agent.neurons;
  if (canvas.width !== n) canvas.width = canvas.height = n;
  const context = canvas.getContext("2d");
  const image = context.createImageData(n, n);
  const trace = agent.trace;
  for (let k = 0; k < n * n; k++) {
    const value = Math.max(-1, Math.min(1, trace[k] / 2));
    // Blue is negative, red is positive, white is nothing.
    image.data[4 * k] = 255 * (value < 0 ? 1 + value * 0.87 : 1 - value * 0.15);
    image.data[4 * k + 1] = 255 * (1 - Math.abs(value) * 0.6);
    image.data[4 * k + 2] = 255 * (value > 0 ? 1 - value * 0.87 : 1 + value * 0.15);
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function drawHits() {
  const canvas = element("hits");
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const [left, bottom, width, height] = [4, canvas.height - 6, canvas.width - 8, canvas.height - 14];
  const most = Math.max(30, maze.hits);
  context.strokeStyle = style.getPropertyValue("--muted").trim();
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(left, bottom);
  context.lineTo(left + width, bottom);
  context.stroke();
  context.strokeStyle = shown;
  context.lineWidth = 4;
  context.beginPath();
  context.moveTo(left, bottom);
  let hits = 0;
  for (const step of hitSteps) {
    const x = left + (width * step) / STEPS;
    context.lineTo(x, bottom - (height * hits) / most);
    hits += 1;
    context.lineTo(x, bottom - (height * hits) / most);
  }
  context.lineTo(left + (width * maze.steps) / STEPS, bottom - (height * hits) / most);
  context.stroke();
}

function report() {
  element("steps").textContent = `${maze.steps} of ${STEPS}`;
  element("hit-count").textContent = maze.hits;
  element("return").textContent = maze.total.toFixed(1);
  const first = hitSteps.length ? `${hitSteps[0]} steps` : "not yet";
  element("first").textContent = first;
  const later = hitSteps.length > 1 ? (hitSteps.at(-1) - hitSteps[0]) / (hitSteps.length - 1) : null;
  element("later").textContent = later === null ? "" : `${later.toFixed(1)} steps`;
  const recent = lifetimes.slice(-12).map(({ hits, touched }) => `${hits}${touched ? "*" : ""}`);
  element("lifetimes").textContent = recent.length ? recent.join(", ") : "none yet";
}

function draw() {
  drawMaze();
  drawTrace();
  drawHits();
  report();
}

function begin(goal = null) {
  agent.forget();
  observation = maze.reset(goal);
  path.length = 0;
  path.push({ place: maze.place, jump: true });
  hitSteps = [];
  interfered = goal !== null;
}

async function advance() {
  const hits = maze.hits;
  const action = sample(await agent.step(observation), random);
  observation = maze.step(action);
  const hit = maze.hits > hits;
  if (hit) hitSteps.push(maze.steps);
  path.push({ place: maze.place, jump: hit });
  if (path.length > 40) path.shift();
  if (maze.done) {
    lifetimes.push({ hits: maze.hits, touched: interfered });
    begin();
  }
}

function wipe() {
  agent.wipe();
  interfered = true;
  draw();
}

function placeGoal(event) {
  const canvas = element("maze");
  const box = canvas.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * maze.width);
  const column = Math.floor(((event.clientX - box.left) / box.width) * maze.width);
  if (!maze.isFree(row, column)) return;
  if (row === maze.place[0] && column === maze.place[1]) return;
  maze.goal = [row, column];
  interfered = true;
  draw();
}

function pause() {
  running = !running;
  element("pause").textContent = running ? "Pause" : "Go on";
}

async function loop() {
  const perSecond = () => 2 ** Number(element("speed").value);
  let due = performance.now();
  for (;;) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
    const now = performance.now();
    if (!running) due = now;
    // What cannot be kept up with is left out.
    due = Math.max(due, now - 200);
    let changed = false;
    while (running && due <= now && performance.now() - now < 50) {
      await advance();
      due += 1000 / perSecond();
      changed = true;
    }
    if (changed) draw();
  }
}

async function start() {
  try {
    agent = await Agent.load("agent.onnx");
  } catch (error) {
    element("status").textContent = `The agent cannot be loaded: ${error.message}. Serve this folder: python -m http.server`;
    return;
  }
  begin();
  element("wipe").addEventListener("click", wipe);
  element("new").addEventListener("click", () => {
    begin();
    draw();
  });
  element("pause").addEventListener("click", pause);
  element("maze").addEventListener("click", placeGoal);
  element("status").hidden = true;
  element("stage").hidden = false;
  draw();
  // For whoever looks from outside, such as a test.
  window.demo = { maze, agent, lifetimes, advance, begin, wipe, draw, pause };
  loop();
}

start();
