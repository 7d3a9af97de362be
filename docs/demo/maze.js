// The rules of PlasticMaze-v0 and PlasticMazePrevAction-v0: see plastic_rl/envs/maze. Nothing here draws or asks an agent.

export const MOVES = [[-1, 0], [0, 1], [1, 0], [0, -1]];
export const STEPS = 250;
const GOAL_REWARD = 10;
const WALL_PENALTY = 0.1;

// A small generator with a seed (mulberry32), so that a lifetime can be repeated. Returns numbers in [0, 1).
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class Maze {
  // random: returns numbers in [0, 1)
  constructor(random, size = 9, observePreviousAction = true) {
    this.random = random;
    this.observePreviousAction = observePreviousAction;
    this.width = size + 2;
    const middle = (size + 1) / 2;
    this.walls = [];
    for (let row = 0; row < this.width; row++) {
      this.walls.push([]);
      for (let column = 0; column < this.width; column++) {
        const outside = row === 0 || column === 0 || row === this.width - 1 || column === this.width - 1;
        const pillar = row % 2 === 0 && column % 2 === 0 && !(row === middle && column === middle);
        this.walls[row].push(outside || pillar);
      }
    }
    this.squares = [];
    this.walls.forEach((cells, row) => cells.forEach((wall, column) => wall || this.squares.push([row, column])));
    this.centre = [middle, middle];
    this.reset();
  }

  // A new lifetime. goal: a free square, or null for one drawn at random, other than the centre.
  reset(goal = null) {
    this.place = this.centre;
    this.goal = goal ?? this.otherThan(this.centre);
    this.steps = 0;
    this.hits = 0;
    this.total = 0;
    this.reward = 0;
    this.action = null;
    return this.observation();
  }

  step(action) {
    const [row, column] = [this.place[0] + MOVES[action][0], this.place[1] + MOVES[action][1]];
    this.action = action;
    this.reward = 0;
    if (this.walls[row][column]) {
      this.reward = -WALL_PENALTY;
    } else if (row === this.goal[0] && column === this.goal[1]) {
      this.reward = GOAL_REWARD;
      this.hits += 1;
      this.place = this.otherThan(this.goal);
    } else {
      this.place = [row, column];
    }
    this.total += this.reward;
    this.steps += 1;
    return this.observation();
  }

  get done() {
    return this.steps >= STEPS;
  }

  isFree(row, column) {
    return this.walls[row]?.[column] === false;
  }

  // What the agent sees: the 3 x 3 squares around it, the reward of its last step, and what it did.
  observation() {
    const seen = [];
    for (const down of [-1, 0, 1]) {
      for (const right of [-1, 0, 1]) {
        seen.push(this.walls[this.place[0] + down][this.place[1] + right] ? 1 : 0);
      }
    }
    seen.push(this.reward);
    if (this.observePreviousAction) {
      for (let action = 0; action < 4; action++) seen.push(action === this.action ? 1 : 0);
    }
    return Float32Array.from(seen);
  }

  otherThan(square) {
    const others = this.squares.filter(([row, column]) => row !== square[0] || column !== square[1]);
    return others[Math.floor(this.random() * others.length)];
  }
}
