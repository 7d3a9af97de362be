"""benchmarks/science/core_steps.py: what is kept was trained with the settings that it has."""

import json


def test_what_is_kept_was_trained_with_these_settings():
    from benchmarks.science.core_steps import FOLDER, NETWORKS, TASKS, settings

    kept = 0
    for group, task in TASKS.items():
        for name, network in NETWORKS.items():
            for path in (FOLDER / group).glob(f"{name.replace(' ', '_')}_[0-9]*.json"):
                expected = json.loads(json.dumps(settings(task, network)))
                assert json.loads(path.read_text())["settings"] == expected, path
                kept += 1
    assert kept == len(list(FOLDER.glob("*/*.json"))) > 0
