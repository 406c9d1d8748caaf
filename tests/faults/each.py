"""One fault of every kind."""

from streamlab import faults

EACH = [
    faults.Kill("worker-1", at=1, restart_after=0, holding=2),
    faults.Pause("one", at=0.5, seconds=1),
    faults.Slow("all", at=1, by=0.1, seconds=1),
    faults.Fail("oldest", at=1, times=0, job=3, seconds=1),
    faults.Crash("worker-1", at=1, after="read", restart_after=1),
    faults.Delay("worker-1", at=1, delay=0.1, jitter=0.05, seconds=1, direction="replies", seed=4),
    faults.Throttle("all", at=1, bytes_per_second=5, seconds=1),
    faults.Hold("one", at=1, seconds=1),
    faults.Drop("producer", at=1, seconds=1, direction="requests"),
    faults.Reset("oldest", at=1),
    faults.Refuse("all", at=1, seconds=1),
    faults.CutReply("worker-1", at=1, command="XACK", nth=3, times=2, seconds=2),
    faults.KillClients("producer", at=0),
    faults.PauseClients(at=0, seconds=1, mode="ALL"),
    faults.SleepRedis(at=0, seconds=1),
    faults.FreezeRedis(at=0, seconds=1),
    faults.RestartRedis(at=0, how="TERM"),
    faults.FlushAll(at=0),
    faults.CutAppendOnlyFile(at=0, size=1),
    faults.LimitMemory(at=0, seconds=1, spare=3),
    faults.SetConfig("hz", "50", at=0, seconds=1),
    faults.Trim(at=0, keep=0),
    faults.Delete("worker-1", at=0, count=5),
    faults.SetID(at=0, to="0"),
    faults.DestroyGroup(at=0),
    faults.DeleteConsumer("oldest", at=0),
    faults.TwinWorker("one", at=0, seconds=1.5),
]
