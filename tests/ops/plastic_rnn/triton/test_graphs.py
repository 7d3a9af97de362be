"""When calls are captured, replayed and run as they are: with a stand-in for CUDA's graphs."""

import logging

import pytest
import torch

from plastic_rl.ops.plastic_rnn.triton import TritonBackend, memory
from plastic_rl.ops.plastic_rnn.triton import graphs as module
from plastic_rl.ops.plastic_rnn.triton.graphs import CUDA, Graph


def scaled(x, y):
    """Something of every kind: a product, a write in place, a view, memory that is filled later."""
    out = torch.empty_like(x)
    torch.mm(x, y, out=out)
    total = x.new_zeros(())
    total.add_(out.sum())
    return {"out": out, "row": out[1], "total": total}


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def pair(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 3, generator=generator), torch.randn(3, 3, generator=generator)


def test_a_call_is_run_then_captured_then_replayed(stand_in):
    graph = Graph(scaled, stand_in.primitives)
    counts = []
    for seed in range(4):
        assert same(graph(*pair(seed)), scaled(*pair(seed)))
        counts.append((stand_in.captures, stand_in.replays))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 3)]
    assert graph.is_captured


def test_what_it_is_given_may_lie_anywhere(stand_in):
    graph = Graph(scaled, stand_in.primitives)
    for seed in range(4):
        x, y = pair(seed)
        x.requires_grad_()
        given = x.t().contiguous().t() if seed % 2 else x, y[:, :1].expand(3, 3)
        kept = [one.detach().clone() for one in given]
        with torch.no_grad():
            assert same(graph(*given), scaled(*(one.contiguous() for one in given)))
        assert all(torch.equal(one, other) for one, other in zip(given, kept, strict=True))


def test_a_capture_that_fails_is_said_once_and_costs_no_result(stand_in, caplog):
    module._say_that_it_failed.cache_clear()
    stand_in.fails = True
    first, second = Graph(scaled, stand_in.primitives), Graph(scaled, stand_in.primitives)
    with caplog.at_level(logging.WARNING):
        for seed in range(4):
            for graph in (first, second):
                assert same(graph(*pair(seed)), scaled(*pair(seed)))
                assert not graph.is_captured
    assert stand_in.captures == 2
    assert [record.getMessage() for record in caplog.records] == [
        "plastic_rnn: launching kernel by kernel, as they were not captured: no graph today"
    ]
    module._say_that_it_failed.cache_clear()


def test_a_function_that_waits_cannot_be_captured(stand_in, caplog):
    graph = Graph(lambda x: x * float(x.sum()), stand_in.primitives)
    for seed in range(3):
        x, _ = pair(seed)
        assert torch.equal(graph(x), x * x.sum())
    assert not graph.is_captured
    assert "_local_scalar_dense during a capture" in caplog.text
    module._say_that_it_failed.cache_clear()


def test_in_use_as_long_as_something_lent_is_held(stand_in):
    graph = Graph(scaled, stand_in.primitives)
    found = graph(*pair(0))
    assert not graph.in_use
    out, total = graph.lend((found["out"], found["total"]))
    assert out.data_ptr() == found["out"].data_ptr()
    del out
    assert graph.in_use
    del total
    assert not graph.in_use


class Saving(torch.autograd.Function):
    """Lends what it saves."""

    @staticmethod
    def forward(ctx, graph, x):
        ctx.save_for_backward(*graph.lend(graph(x)))
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return None, grad * ctx.saved_tensors[0]


def test_a_backward_pass_to_come_keeps_it_in_use(stand_in):
    graph = Graph(lambda x: (2 * x,), stand_in.primitives)
    x = torch.ones(2, requires_grad=True)
    for again in range(3):
        y = Saving.apply(graph, x)
        assert graph.in_use
        if again == 0:
            del y
        else:
            y.sum().backward(retain_graph=again == 2)
        assert graph.in_use == (again == 2)
    y.sum().backward()
    assert not graph.in_use
    assert x.grad.tolist() == [6, 6]
    y = torch.utils.checkpoint.checkpoint(lambda x: Saving.apply(graph, x), x, use_reentrant=False)
    assert not graph.in_use
    y.sum().backward()
    assert not graph.in_use
    assert x.grad.tolist() == [8, 8]


def make_from(graphs, made):
    def make():
        graph = Graph(lambda x: (x,), graphs.primitives)
        made.append(graph)
        return graph

    return make


def test_found_from_the_second_call_on(graphs):
    made: list[Graph] = []
    make = make_from(graphs, made)
    assert graphs.find("a", make) is None
    assert made == []
    assert graphs.find("a", make) is made[0]
    assert graphs.find("b", make) is None
    assert graphs.find("a", make) is made[0]
    assert len(graphs) == 1
    graphs.clear()
    assert graphs.find("a", make) is None
    assert len(graphs) == 0


def test_one_that_is_in_use_is_not_given_out(graphs):
    made: list[Graph] = []
    held: list[torch.Tensor] = []
    make = make_from(graphs, made)
    graphs.find("a", make)
    for number in range(5):
        graph = graphs.find("a", make)
        if number < 3:
            assert graph is made[number]
            held += graph.lend((torch.zeros(1),))
        else:
            assert graph is None  # as many as are kept, and none of them may be forgotten
    assert len(graphs) == 3
    graphs.find("b", make)
    assert graphs.find("b", make) is None
    held.clear()
    assert graphs.find("a", make) is made[0]


def test_the_least_recently_used_of_too_many_is_forgotten(graphs):
    made: list[Graph] = []
    make = make_from(graphs, made)
    for key in "abcd":
        graphs.find(key, make)
    a, b, c = (graphs.find(key, make) for key in "abc")
    held = b.lend((torch.zeros(1),))
    assert graphs.find("a", make) is a
    d = graphs.find("d", make)  # b is the oldest, but in use
    assert len(graphs) == 3
    assert graphs.find("a", make) is a
    assert graphs.find("d", make) is d
    held.clear()
    assert graphs.find("b", make) is b
    assert graphs.find("c", make) not in (None, c)
    assert len(graphs) == 3


def test_none_is_made_where_it_may_not_be(graphs):
    graphs.find("a", lambda: None)
    assert graphs.find("a", lambda: None) is None
    assert len(graphs) == 0


def test_many_different_calls_are_not_remembered_for_ever(graphs):
    for key in range(5000):
        assert graphs.find(key, lambda: None) is None
    assert len(graphs._seen) < 2000


def test_a_graph_is_worth_it_for_few_environments_and_what_memory_bears(monkeypatch):
    assert memory.launching_takes_longer(torch.empty(64, 200, 200, device="meta"))
    assert not memory.launching_takes_longer(torch.empty(1024, 200, 200, device="meta"))
    on_cuda = type("Trace", (), {"device": torch.device("cuda"), "numel": lambda self: 1000})()
    monkeypatch.setattr(memory, "_free", lambda device: 16 * 4000 * 50)
    assert memory.may_be_kept(on_cuda, 50)
    assert not memory.may_be_kept(on_cuda, 51)


def test_nothing_is_captured_on_the_cpu():
    assert CUDA.place(torch.zeros(1)) is None


def test_the_switch():
    assert not TritonBackend().cuda_graphs
    backend = TritonBackend(cuda_graphs=True)
    assert backend.cuda_graphs
    backend.graphs.find("a", lambda: None)
    assert backend._kept_graphs() is backend.graphs
    backend.cuda_graphs = False
    assert backend._kept_graphs() is None
    assert not backend.graphs._seen


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cudas_own():
    """The same as with the stand-in; on another stream, within another capture, random numbers as before."""
    graph = Graph(scaled, CUDA)
    torch.cuda.manual_seed(0)
    expected_noise = torch.randn(3, device="cuda")
    torch.cuda.manual_seed(0)
    for seed in range(4):
        given = [one.cuda() for one in pair(seed)]
        assert same(graph(*given), scaled(*given))
    assert torch.equal(torch.randn(3, device="cuda"), expected_noise)
    x = torch.zeros(1, device="cuda")
    here, side = CUDA.place(x), torch.cuda.Stream()
    with torch.cuda.stream(side):
        assert CUDA.place(x) not in (None, here)
    assert CUDA.place(x) == here
    outer = torch.cuda.CUDAGraph()
    with torch.cuda.graph(outer):
        assert CUDA.place(x) is None
        x.add_(1)
    waits = Graph(lambda x: x * float(x.sum()), CUDA)
    for _ in range(3):
        assert torch.equal(waits(x), x * x.sum())
    assert not waits.is_captured
    assert CUDA.place(x) == here
