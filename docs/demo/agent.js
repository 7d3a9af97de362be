// An agent that plastic_rl.export_onnx wrote, run by onnxruntime-web: one step at a time, the state in and out.

import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more would need headers that a plain file server does not send

export class Agent {
  static async load(url) {
    const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
    return new Agent(await ort.InferenceSession.create(bytes));
  }

  constructor(session) {
    this.session = session;
    this.parts = session.inputNames.filter((name) => name.startsWith("state."));
    const shapes = Object.fromEntries(session.inputMetadata.map((input) => [input.name, input.shape]));
    this.sizes = Object.fromEntries(this.parts.map((name) => [name, [1, ...shapes[name].slice(1)]]));
    this.forget();
  }

  // The state at the start of a lifetime.
  forget() {
    this.state = Object.fromEntries(this.parts.map((name) => [name, zeros(this.sizes[name])]));
  }

  // The trace alone, as if nothing had been learned in this lifetime.
  wipe() {
    this.state["state.trace"] = zeros(this.sizes["state.trace"]);
  }

  get neurons() {
    return this.sizes["state.trace"][1];
  }

  get trace() {
    return this.state["state.trace"].data;
  }

  // Returns the logits of the actions.
  async step(observation) {
    const outputs = await this.session.run({
      observation: new ort.Tensor("float32", observation, [1, observation.length]),
      episode_start: new ort.Tensor("bool", Uint8Array.from([0]), [1]),
      ...this.state,
    });
    for (const name of this.parts) this.state[name] = outputs[`new_${name}`];
    return outputs.logits.data;
  }
}

// An action drawn from logits, as in training: the largest of them with noise of Gumbel's distribution.
export function sample(logits, random) {
  let best = 0;
  let highest = -Infinity;
  logits.forEach((logit, action) => {
    const noisy = logit - Math.log(-Math.log(random() || Number.MIN_VALUE));
    if (noisy > highest) [best, highest] = [action, noisy];
  });
  return best;
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
}
