"""Every scenario that comes with the package, run for real: it answers its question, and the answer is the right one.

Those whose name begins with `mistake-` have a faulty worker or producer; each must be caught, and what replaces the
mistake must not be.
"""

import dataclasses

import pytest

import streamlab as sl
from streamlab import scenarios
from streamlab.errors import DataError, MissingError
from streamlab.lab.experiment import Experiment

#: The verdict, and classes that must have a member ("class") or none ("!class").
EXPECTED = {
    "chaos": ("valid", "redelivered"),
    "crash-before-ack": ("valid", "done_twice"),
    "delete-consumer": ("valid", "!lost"),
    "delete-pending": ("invalid", "lost_removed"),
    "destroy-group": ("valid", "redelivered"),
    "flaky": ("valid", "failed_attempts !dead_lettered"),
    "flushall": ("invalid", "lost_by_redis"),
    "held-bytes": ("valid", "reclaimed"),
    "kill": ("valid", "reclaimed"),
    "kill-all": ("valid", "redelivered"),
    "lost-ack": ("valid", "!done_twice"),
    "lost-add": ("valid", "!produced_twice"),
    "lost-read": ("valid", "!done_twice"),
    "no-way-in": ("valid", ""),
    "ordered-one-worker": ("valid", ""),
    "ordered-three-workers": ("invalid", "reordered"),
    "out-of-memory": ("valid", "!lost"),
    "poison": ("valid", "dead_lettered"),
    "power-cut": ("invalid", "lost_by_redis"),
    "recovery": ("valid", "!late"),
    "redis-freeze": ("valid", "!lost"),
    "redis-restart": ("valid", "!lost"),
    "redis-restart-no-persistence": ("invalid", "lost_by_redis"),
    "resets": ("valid", "!lost"),
    "slow-network": ("valid", "!done_twice"),
    "slow-worker": ("valid", "!done_twice"),
    "trim-backlog": ("invalid", "lost_removed"),
    "twins": ("valid", "!lost"),
    "zombie": ("valid", "done_twice"),
    "zombie-idempotent": ("valid", "done_twice !effect_twice"),
    "zombie-payment": ("invalid", "effect_twice"),
    "mistake-absolute-time": ("invalid", "stuck"),
    "mistake-acks-before-work": ("invalid", "lost_acked"),
    "mistake-acks-the-batch": ("invalid", "lost_acked"),
    "mistake-adds-again": ("invalid", "produced_twice effect_twice"),
    "mistake-always-from-zero": ("invalid", "late"),
    "mistake-buries-without-ack": ("unknown", "torn"),
    "mistake-claims-when-idle": ("invalid", "late"),
    "mistake-deletes-consumers": ("invalid", "lost_discarded"),
    "mistake-drops-on-error": ("invalid", "lost_acked"),
    "mistake-loses-a-batch": ("invalid", "stuck"),
    "mistake-never-acks": ("unknown", "unacked done_twice"),
    "mistake-never-claims": ("invalid", "stuck"),
    "mistake-newest-first": ("invalid", "reordered"),
    "mistake-no-heartbeat": ("invalid", "effect_twice"),
    "mistake-retries-for-ever": ("invalid", "stuck"),
    "mistake-shares-a-name": ("invalid", "effect_twice"),
    "mistake-spins-on-nogroup": ("invalid", "spinning stuck"),
    "mistake-starts-at-the-end": ("invalid", "lost"),
    "mistake-trims-too-short": ("invalid", "lost"),
    "mistake-zombie-ack": ("invalid", "zombie_acks effect_twice"),
}
#: Nobody can do better with this fault: a zombie cannot be fenced off by its queue.
NO_BETTER = {"mistake-zombie-ack"}


def judged(name, tmp_path, **changes):
    experiment = dataclasses.replace(Experiment.load(scenarios.find(name)), **changes)
    with sl.Lab("process") as lab:
        return lab.run(experiment, out=tmp_path / "run").verdict


def test_each_scenario_is_an_experiment_with_a_question_and_is_tested():
    assert scenarios.names() == sorted(EXPECTED)
    for name in EXPECTED:
        experiment = Experiment.load(scenarios.find(name))
        assert experiment.name == name
        assert experiment.question.endswith("?")


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_answer(name, tmp_path):
    verdict, classes = EXPECTED[name]
    found = judged(name, tmp_path)
    assert found.verdict == verdict, (str(found), found.reasons)
    for one in classes.split():
        assert bool(found.counts[one.strip("!")]) is not one.startswith("!"), (one, str(found))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted({name for name in EXPECTED if name.startswith("mistake-")} - NO_BETTER))
def test_without_the_mistake(name, tmp_path):
    """The same fault, and the class of the mistake has no member."""
    found = judged(name, tmp_path, worker="", producer="")
    assert found.counts[EXPECTED[name][1].split()[0]] == 0, str(found)
    assert found.verdict == "valid", (str(found), found.reasons)


def test_what_is_no_scenario_or_no_experiment_is_told(tmp_path):
    with pytest.raises(MissingError, match="no such scenario; there are: chaos, crash-before-ack"):
        scenarios.find("lunch")
    (tmp_path / "mine.toml").write_text("workers = 'many'")
    with pytest.raises(DataError, match=r"mine\.toml"):
        Experiment.load(scenarios.find(str(tmp_path / "mine.toml")))
