"""``plastic-rl list``: what there is."""

import argparse

SUMMARY = "list environments, algorithms, cells, rules and trained agents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``plastic-rl list`` takes nothing."""
    parser.description = "List environments with their levels, algorithms, cells, rules and trained agents."


def run(arguments: argparse.Namespace) -> int:
    """Print what there is, a section for each kind."""
    from plastic_rl.cli.user_input import shown_levels
    from plastic_rl.envs import ENVIRONMENTS, reference_levels
    from plastic_rl.ops.plastic_rnn import CELLS, RULES
    from plastic_rl.runs.hyperparams import ALGORITHMS, default_algorithm
    from plastic_rl.runs.pretrained import available, read_record

    print("Environments (of Gymnasium's and your own, any):")
    for env_id in ENVIRONMENTS:
        levels = shown_levels(reference_levels(env_id))
        print(f"  {env_id:28}{default_algorithm(env_id)}{f'; {levels}' if levels else ''}")
    print("Algorithms:")
    for name, place in ALGORITHMS.items():
        print(f"  {name:28}{place.replace(':', '.')}")
    print("Cells:")
    print(f"  {', '.join(CELLS)}")
    print("Rules:")
    print(f"  {', '.join(RULES)}")
    print("Trained agents:")
    for name in available():
        score = read_record(name).score
        shown = "score unknown"
        if score is not None:
            low, high = score["interval"]
            shown = f"mean return {score['mean_return']:g}, 95 % interval {low:g} to {high:g}"
        print(f"  {name:28}{shown}")
    return 0
