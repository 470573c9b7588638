// pager_inhibit_workers and the end of a pool: stopping workers between two messages.
//
// One marker is sent for each worker; a worker that takes one parks. The bucket's port set is one queue, so when every worker is
// parked, everything that was sent before the markers is done. A worker that is made meanwhile gets a marker of
// its own. A worker that waits in a callback for a client's answer could wait for ever if nobody received it:
// for its sake one parked worker goes back to receiving, and gets another marker when nobody waits any more.

import CPlatform
import Synchronization

enum Inhibition: UInt8 { case none, begun, complete }

extension UnsafeMutablePointer where Pointee == Pool {
    private static var firstMarker: mach_msg_id_t { 0x7067_0000 }
    private static var rounds: Int32 { 0x1_0000 }

    /// Not the lock's holder: sending may wait.
    func sendMarker() {
        pointee.monitor.lock()
        let id = PoolPointer.firstMarker + pointee.round % PoolPointer.rounds
        pointee.monitor.unlock()
        _ = pager_send_marker(pointee.port, id)
    }

    /// Whether the message is a marker. If so the worker has obeyed it.
    @inline(__always)
    func takeMarker(_ worker: UnsafeMutablePointer<Worker>,
                    _ message: UnsafeMutablePointer<mach_msg_header_t>) -> Bool {
        if pager_message_port(message) != pointee.port { return false }
        obey(worker, message.pointee.msgh_id)
        return true
    }

    @inline(never)
    private func obey(_ worker: UnsafeMutablePointer<Worker>, _ id: mach_msg_id_t) {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let current = PoolPointer.firstMarker + pointee.round % PoolPointer.rounds
        if pointee.inhibition == .none || id != current { return }
        pointee.parked += 1
        if worker.pointee.isReceiver {
            worker.pointee.isReceiver = false
            pointee.receivers.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        }
        pointee.monitor.wakeAll()
        while pointee.inhibition != .none && !pointee.isEnding {
            if pointee.inhibition == .begun && pointee.waiting > 0 && !pointee.hasHelper {
                pointee.hasHelper = true
                break
            }
            _ = pointee.monitor.wait()
        }
        pointee.parked -= 1
    }

    /// 0, or an errno.
    func inhibit() -> Int32 {
        if let worker = Worker.current, worker.pointee.pool == self { return Errno.deadlock }
        pointee.monitor.lock()
        if pointee.inhibition != .none || pointee.isEnding {
            pointee.monitor.unlock()
            return Errno.busy
        }
        pointee.inhibition = .begun
        pointee.hasHelper = false
        let markers = pointee.threads
        pointee.monitor.unlock()
        for _ in 0..<markers { sendMarker() }
        pointee.monitor.lock()
        while pointee.parked < pointee.threads { _ = pointee.monitor.wait() }
        pointee.inhibition = .complete
        pointee.monitor.unlock()
        return 0
    }

    func resume() {
        pointee.monitor.lock()
        if pointee.inhibition == .complete {
            pointee.inhibition = .none
            pointee.round &+= 1
            if pointee.round < 0 { pointee.round = 0 }
            pointee.monitor.wakeAll()
        }
        pointee.monitor.unlock()
    }

    /// A worker is going to wait in a callback. Always true: to be undone.
    func beginWait() -> Bool {
        pointee.monitor.lock()
        pointee.waiting += 1
        if pointee.inhibition == .begun { pointee.monitor.wakeAll() }
        pointee.monitor.unlock()
        return true
    }

    func endWait() {
        pointee.monitor.lock()
        pointee.waiting -= 1
        let mustMark = pointee.waiting == 0 && pointee.hasHelper && pointee.inhibition == .begun
        if mustMark { pointee.hasHelper = false }
        pointee.monitor.unlock()
        if mustMark { sendMarker() }
    }
}

// The life of a pool.

extension Pool {
    /// nil: memory or ports are exhausted.
    static func create(_ bucket: UnsafeMutablePointer<port_bucket>) -> PoolPointer? {
        guard let pool = Memory.allocate(Pool.self, 1) else { return nil }
        guard let monitor = Monitor.create() else {
            Memory.free(pool)
            return nil
        }
        var port: mach_port_t = 0
        if pager_make_marker_port(bucket.pointee.portset, &port) != 0 {
            monitor.destroy()
            Memory.free(pool)
            return nil
        }
        pool.initialize(to: Pool(bucket: bucket, portSet: bucket.pointee.portset, monitor: monitor, port: port))
        return pool
    }
}

extension UnsafeMutablePointer where Pointee == Pool {
    /// false: not one thread could be made.
    func start() -> Bool {
        for index in 0..<Pool.initialThreads {
            pointee.monitor.lock()
            pointee.threads += 1
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
        pointee.isEnding = true
        pointee.isStopping.store(1, ordering: .releasing)
        pointee.monitor.wakeAll()
        while pointee.threads > 0 {
            // Wakes one that receives; one that is in a callback ends when it comes back.
            pointee.monitor.unlock()
            _ = pager_try_send_marker(pointee.port, PoolPointer.firstMarker)
            pointee.monitor.lock()
            if pointee.threads > 0 { _ = pointee.monitor.wait(20) }
        }
        pointee.monitor.unlock()
        pager_drop_receive_right(pointee.port)
        while !pointee.work.isEmpty {
            if let pager = pointee.work.removeFirst() { ports_port_deref(pager.pointee.port) }
        }
        let monitor = pointee.monitor
        deinitialize(count: 1)
        monitor.destroy()
        Memory.free(self)
    }
}
