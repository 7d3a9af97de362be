"""The page on which the maze's agent runs, in a real browser: it learns there, and forgets what is wiped."""

import importlib.util
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import plastic_rl

DEMO = Path(__file__).parents[1] / "docs" / "demo"
RUNTIME = DEMO / "node_modules" / "onnxruntime-web" / "dist"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(not DEMO.is_dir(), reason="not a checkout")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def load_builder():
    spec = importlib.util.spec_from_file_location("build_demo", DEMO / "build_demo.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    return builder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page as a reader opens it, from a file server on this machine; errors in it fail the test."""
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("onnx")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    if not RUNTIME.is_dir():
        pytest.skip("needs npm install in docs/demo")
    folder = tmp_path_factory.mktemp("demo") / "page"
    load_builder().build(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    errors = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = browser.new_context()
        # Offline but for the folder itself.
        context.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/index.html?seed=1")
        page.wait_for_function("window.demo !== undefined", timeout=60_000)
        page.evaluate("demo.pause()")
        yield page
        browser.close()
    server.shutdown()
    server.server_close()
    assert errors == []


LIVE = """async (wipe) => {
  const hits = [];
  for (let life = 0; life < 8; life++) {
    demo.begin();
    for (let step = 0; step < 249; step++) {
      if (wipe) demo.agent.wipe();
      await demo.advance();
    }
    hits.push(demo.maze.hits);
  }
  return hits;
}"""


@pytest.mark.slow
def test_the_agent_learns_in_the_browser_and_not_without_its_trace(page):
    intact, wiped = page.evaluate(LIVE, False), page.evaluate(LIVE, True)
    # 244 and 50 in docs/maze.md, at 10 a hit.
    assert np.mean(intact) > 15, intact
    assert np.mean(wiped) < 10, wiped


@pytest.mark.slow
def test_what_the_reader_does(page):
    page.evaluate("demo.begin()")
    page.evaluate("async () => { for (let k = 0; k < 20; k++) await demo.advance(); }")
    assert page.evaluate("Math.max(...demo.agent.trace.map(Math.abs))") > 0
    page.click("#wipe")
    assert page.evaluate("Math.max(...demo.agent.trace.map(Math.abs))") == 0
    box = page.locator("#maze").bounding_box()
    goal = [1, 1] if page.evaluate("demo.maze.place.join()") != "1,1" else [1, 3]
    x, y = ((place + 0.5) * box["width"] / 11 for place in reversed(goal))
    page.locator("#maze").click(position={"x": x, "y": y})
    assert page.evaluate("demo.maze.goal") == goal
    page.click("#new")
    assert page.inner_text("#steps") == "0 of 250"
    page.click("#pause")
    page.wait_for_function("demo.maze.steps > 3")
    page.click("#pause")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 800), (1300, 900)])
def test_it_fits_the_window(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


# Where a hit drops the agent is chance: the page's agent is put where ours is.
STEP = """([action, place]) => {
  const seen = demo.maze.step(action);
  const hit = demo.maze.reward > 1;
  if (hit) demo.maze.place = place;
  return [Array.from(hit ? demo.maze.observation() : seen), demo.maze.reward];
}"""


@pytest.mark.slow
def test_its_maze_is_ours(page):
    """The same goal, squares and actions give the same observations and rewards in both."""
    env = gym.make("PlasticMazePrevAction-v0")
    observation, info = env.reset(seed=3)
    goal = [int(part) for part in info["goal"]]
    theirs = page.evaluate("(goal) => Array.from(demo.maze.reset(goal))", goal)
    np.testing.assert_allclose(theirs, observation, rtol=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(249):
        action = int(rng.integers(4))
        observation, reward, _, _, info = env.step(action)
        seen, earned = page.evaluate(STEP, [action, [int(part) for part in info["position"]]])
        assert earned == pytest.approx(reward)
        np.testing.assert_allclose(seen, observation, rtol=1e-6)


def test_what_is_missing_is_named(tmp_path, capsys, monkeypatch):
    builder = load_builder()
    monkeypatch.setattr("sys.argv", ["build_demo.py", str(tmp_path / "page"), "--runtime", str(tmp_path)])
    assert builder.main() == 2
    assert "npm install" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_the_agent_of_the_page_is_one_that_ships():
    builder = load_builder()
    model = plastic_rl.load_pretrained(builder.ENV_ID, config=builder.CONFIG)
    assert model.policy.core_options.cell == "rnn"
