// pager_inhibit_workers and the end of a pool: stopping workers between two messages.
//
// One marker is sent for each worker; a worker that takes one parks. The bucket's port set is one queue, so when every worker is
// parked, everything that was sent before the markers is done. A worker that is made meanwhile gets a marker of
// its own. A worker that waits in a callback for a client's answer could wait for ever if nobody received it: so while one waits the
// last receiver does not park (and parked ones are called back where there is none). The markers that it took are sent again when nobody
// waits any more, so that there is one for each worker that is not parked.
// What no worker was free for is done by the thread that inhibits, when all are parked, or that stops them, when all have ended. It counts as a
// worker that waits where it waits in a callback: a parked one receives meanwhile, or one that is made for it.

import CPlatform
import Synchronization

enum Inhibition: UInt8 { case none, begun, complete }

extension UnsafeMutablePointer where Pointee == Pool {
    /// Only under the lock.
    var locked: UnsafeMutablePointer<PoolState> { pointee.locked }

    private static var firstMarker: mach_msg_id_t { 0x7067_0000 }
    private static var rounds: Int32 { 0x1_0000 }
    /// Between two markers of a pool that is to end.
    private static var markerInterval_ms: Int { 20 }

    /// Not the lock's holder: sending may wait.
    func sendMarker() {
        pointee.monitor.lock()
        let id = PoolPointer.firstMarker + locked.pointee.round % PoolPointer.rounds
        pointee.monitor.unlock()
        _ = pager_send_marker(pointee.port, id)
    }

    /// Work was left and this thread cannot do it: a worker that receives is to look. Its message is of no round.
    func callReceiver() { _ = pager_try_send_marker(pointee.port, PoolPointer.firstMarker - 1) }

    /// Whether the message is a marker. If so the worker has obeyed it.
    @inline(__always)
    func takeMarker(_ worker: UnsafeMutablePointer<Worker>,
                    _ message: UnsafeMutablePointer<mach_msg_header_t>) -> Bool {
        if pager_message_port(message) != pointee.port { return false }
        obey(worker, pager_message_id(message))
        return true
    }

    /// A message for nobody whom the worker knows. If it is another pool's marker, for the same bucket: that pool's workers must
    /// get the next one. Mach may give messages to the worker that came last to receive, which would be this one for ever; so it
    /// keeps away for as long as others of its sort, one after the other, need to do the same. (It still counts as one that
    /// receives: the other pool's do.)
    func leaveToOthers(_ id: mach_msg_id_t) {
        if id < PoolPointer.firstMarker - 1 || id >= PoolPointer.firstMarker + PoolPointer.rounds { return }
        platform_pause_ms(min(pointee.receivers.load(ordering: .relaxed) + 2, 20) * UInt32(PoolPointer.markerInterval_ms))
    }

    @inline(never)
    private func obey(_ worker: UnsafeMutablePointer<Worker>, _ id: mach_msg_id_t) {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let current = PoolPointer.firstMarker + locked.pointee.round % PoolPointer.rounds
        if locked.pointee.inhibition == .none || id != current { return }
        // Parked in this round only: a worker that has not run since the last round's end must not count for the next.
        let round = locked.pointee.round
        locked.pointee.parked += 1
        if worker.pointee.isReceiver {
            worker.pointee.isReceiver = false
            pointee.receivers.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        }
        pointee.monitor.wakeAll()
        while locked.pointee.inhibition != .none && locked.pointee.round == round && !locked.pointee.isEnding {
            // Somebody waits for an answer and nobody would receive it: go on, and owe the marker.
            if locked.pointee.inhibition == .begun && locked.pointee.waiting > 0
                && pointee.receivers.load(ordering: .acquiring) == 0 {
                locked.pointee.owedMarkers += 1
                worker.pointee.isReceiver = true
                pointee.receivers.wrappingAdd(1, ordering: .sequentiallyConsistent)
                break
            }
            pointee.parking.wait(in: pointee.monitor)
        }
        if locked.pointee.round == round { locked.pointee.parked -= 1 }
    }

    /// 0, or an errno.
    func inhibit() -> Int32 {
        if let worker = Worker.current, worker.pointee.pool == self { return Errno.deadlock }
        pointee.monitor.lock()
        if locked.pointee.inhibition != .none || locked.pointee.isEnding {
            pointee.monitor.unlock()
            return Errno.busy
        }
        locked.pointee.inhibition = .begun
        locked.pointee.owedMarkers = 0
        let markers = locked.pointee.threads
        pointee.monitor.unlock()
        for _ in 0..<markers { sendMarker() }
        pointee.monitor.lock()
        while true {
            while locked.pointee.parked < locked.pointee.threads { _ = pointee.monitor.wait() }
            if locked.pointee.work.isEmpty { break }
            // What no worker was free for was due as well.
            pointee.monitor.unlock()
            doWorkForWorkers()
            pointee.monitor.lock()
        }
        locked.pointee.inhibition = .complete
        pointee.monitor.unlock()
        return 0
    }

    func resume() {
        pointee.monitor.lock()
        if locked.pointee.inhibition == .complete {
            locked.pointee.inhibition = .none
            locked.pointee.round &+= 1
            if locked.pointee.round < 0 { locked.pointee.round = 0 }
            locked.pointee.parked = 0
            pointee.parking.wakeAll()
        }
        pointee.monitor.unlock()
    }

    /// A worker is going to wait in a callback. Always true: to be undone.
    func beginWait() -> Bool {
        pointee.monitor.lock()
        locked.pointee.waiting += 1
        if locked.pointee.inhibition == .begun { pointee.parking.wakeAll() }
        // Work may have been left because there could be no more workers; now there can, and this wait may be for it. Or they have all ended (`stop`).
        let isOnlyOne = locked.pointee.isEnding && pointee.receivers.load(ordering: .acquiring) == 0
        let mustHelp = (isOnlyOne || !locked.pointee.work.isEmpty) && hasRoomLocked
        if mustHelp { locked.pointee.threads += 1 }
        let mustMark = mustHelp && locked.pointee.inhibition == .begun
        pointee.monitor.unlock()
        if mustHelp {
            pointee.receivers.wrappingAdd(1, ordering: .acquiringAndReleasing)
            var isStarted = startThread()
            // Where nobody else receives what this waits for, it waits for the memory, too.
            while !isStarted && isOnlyOne {
                platform_pause_ms(UInt32(PoolPointer.markerInterval_ms))
                isStarted = startThread()
            }
            if isStarted {
                if mustMark { sendMarker() }
            } else {
                pointee.receivers.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                threadEnds()
            }
        }
        return true
    }

    func endWait() {
        pointee.monitor.lock()
        locked.pointee.waiting -= 1
        var markers = 0
        if locked.pointee.waiting == 0 && locked.pointee.inhibition == .begun {
            markers = locked.pointee.owedMarkers
            locked.pointee.owedMarkers = 0
        }
        pointee.monitor.unlock()
        for _ in 0..<markers { sendMarker() }
    }
}

// The life of a pool.

extension Pool {
    /// nil: memory or ports are exhausted.
    static func create(_ bucket: UnsafeMutablePointer<port_bucket>) -> PoolPointer? {
        let pool = Memory.allocate(Pool.self, 1), locked = Memory.allocate(PoolState.self, 1)
        let monitor = Monitor.create(), parking = Monitor.Condition.create()
        var port: mach_port_t = 0
        if let pool, let locked, let monitor, let parking,
           pager_make_marker_port(pager_bucket_port_set(bucket), &port) == 0 {
            locked.initialize(to: PoolState())
            pool.initialize(to: Pool(bucket: bucket, portSet: pager_bucket_port_set(bucket), monitor: monitor, parking: parking,
                                     port: port,
                                     locked: locked))
            return pool
        }
        parking?.destroy()
        monitor?.destroy()
        Memory.free(locked)
        Memory.free(pool)
        return nil
    }
}

extension UnsafeMutablePointer where Pointee == Pool {
    /// false: not one thread could be made.
    func start() -> Bool {
        for index in 0..<Pool.initialThreads {
            pointee.monitor.lock()
            locked.pointee.threads += 1
            pointee.monitor.unlock()
            pointee.receivers.wrappingAdd(1, ordering: .acquiringAndReleasing)
            if startThread() { continue }
            pointee.receivers.wrappingSubtract(1, ordering: .acquiringAndReleasing)
            threadEnds()
            return index > 0
        }
        return true
    }

    /// Ends all workers and frees the pool.
    func stop() {
        pointee.monitor.lock()
        locked.pointee.isEnding = true
        pointee.isStopping.store(1, ordering: .releasing)
        pointee.parking.wakeAll()
        while true {
            while locked.pointee.threads > 0 {
                // Wakes one that receives; one that is in a callback ends when it comes back.
                pointee.monitor.unlock()
                _ = pager_try_send_marker(pointee.port, PoolPointer.firstMarker)
                pointee.monitor.lock()
                if locked.pointee.threads > 0 { _ = pointee.monitor.wait(PoolPointer.markerInterval_ms) }
            }
            if locked.pointee.work.isEmpty { break }
            // What no worker was free for was received as well.
            pointee.monitor.unlock()
            doWorkForWorkers()
            pointee.monitor.lock()
        }
        pointee.monitor.unlock()
        pager_drop_receive_right(pointee.port)
        let monitor = pointee.monitor, parking = pointee.parking, locked = locked
        deinitialize(count: 1)
        parking.destroy()
        monitor.destroy()
        Memory.free(locked)
        Memory.free(self)
    }
}
