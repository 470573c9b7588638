// A bucket's workers as a whole: how many there are, who receives, inhibition, the end.

import CPlatform
import Synchronization

struct Pool: ~Copyable {
    let bucket: UnsafeMutablePointer<port_bucket>
    let portSet: mach_port_t
    let monitor: Monitor
    /// Where workers wait that an inhibition has parked: not woken by every one more.
    let parking: Monitor.Condition
    /// Receives markers; a member of the port set.
    let port: mach_port_t

    /// Workers that receive, or are about to. Changes without the lock, except from 1 to 0.
    let receivers = Atomic<UInt32>(0)
    /// Pagers wait in `work`.
    let hasWork = Atomic<UInt32>(0)
    /// Not 0: workers stop at `awaitPermission`.
    let isStopping = Atomic<UInt32>(0)

    let locked: UnsafeMutablePointer<PoolState>

    /// Workers at the most. Beyond it callbacks wait for each other, but messages are still received.
    static var maximumThreads: Int { 64 }
    static var initialThreads: Int { 2 }
}

/// Only under the pool's lock.
struct PoolState {
    var threads = 0
    var isEnding = false
    var work = WorkList()
    // Of Inhibition.swift.
    var inhibition = Inhibition.none
    /// Tells this inhibition's markers from those of earlier ones.
    var round: Int32 = 0
    /// Workers that have taken a marker and wait.
    var parked = 0
    /// Workers that wait in a callback for an answer from a client.
    var waiting = 0
    /// Markers that were taken by workers who had to go on receiving for their sake.
    var owedMarkers = 0
}

typealias PoolPointer = UnsafeMutablePointer<Pool>

/// Pagers whose jobs wait for a worker that may do them, each once, linked through themselves: it cannot be full.
struct WorkList {
    /// A pager's place in the list of one pool, whoever lists it first. (Nobody forbids two pools for a bucket.)
    struct Entry: ~Copyable {
        let isListed = Atomic<UInt32>(0)
        var next: PagerPointer?
    }

    private var first: PagerPointer?
    private var last: PagerPointer?

    var isEmpty: Bool { first == nil }

    /// false: it is there already.
    mutating func append(_ pager: PagerPointer) -> Bool {
        if pager.pointee.listing.pointee.isListed.exchange(1, ordering: .acquiring) != 0 { return false }
        pager.pointee.listing.pointee.next = nil
        if let last { last.pointee.listing.pointee.next = pager } else { first = pager }
        last = pager
        return true
    }

    mutating func removeFirst() -> PagerPointer? {
        guard let pager = first else { return nil }
        first = pager.pointee.listing.pointee.next
        if first == nil { last = nil }
        pager.pointee.listing.pointee.next = nil
        pager.pointee.listing.pointee.isListed.store(0, ordering: .releasing)
        return pager
    }
}

extension UnsafeMutablePointer where Pointee == Pool {
    /// A receiver wants to call the translator. false: it is the last one and there can be no other.
    @inline(__always)
    func receiverLeaves() -> Bool {
        if pointee.receivers.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue != 0 { return true }
        return lastReceiverLeaves()
    }

    @inline(never)
    private func lastReceiverLeaves() -> Bool {
        // Counted for the new one before it runs.
        pointee.receivers.wrappingAdd(1, ordering: .acquiringAndReleasing)
        pointee.monitor.lock()
        if locked.pointee.inhibition == .begun && locked.pointee.waiting > 0 && locked.pointee.parked > 0 {
            // One that is parked goes on in this one's place (`obey`). Were another made each time, all that there may be would stand still in the end.
            pointee.receivers.wrappingSubtract(1, ordering: .acquiringAndReleasing)
            pointee.parking.wakeAll()
            pointee.monitor.unlock()
            return true
        }
        let room = hasRoomLocked
        if room { locked.pointee.threads += 1 }
        let mustMark = room && locked.pointee.inhibition == .begun
        pointee.monitor.unlock()
        if !room { return false }
        if !startThread() {
            pointee.monitor.lock()
            locked.pointee.threads -= 1
            pointee.monitor.unlock()
            return false
        }
        if mustMark { sendMarker() }
        return true
    }

    /// Workers that wait in a callback for a client do not count: what they wait for may need others.
    var hasRoomLocked: Bool {
        locked.pointee.threads < Pool.maximumThreads + locked.pointee.waiting
            && (!locked.pointee.isEnding || locked.pointee.waiting > 0)
    }

    /// One more worker, which is counted as thread and receiver already.
    func startThread() -> Bool {
        guard let worker = Memory.allocate(Worker.self, 1) else { return false }
        let size: mach_msg_size_t = 4096
        let memory = Memory.allocateBytes(Int(size)), other = Memory.allocateBytes(Int(size)), condition = Monitor.Condition.create()
        guard let buffer = memory, let reply = other, let condition else {
            platform_free(memory)
            platform_free(other)
            condition?.destroy()
            Memory.free(worker)
            return false
        }
        worker.initialize(to: Worker(pool: self, buffer: buffer, reply: reply, bufferSize: size, turn: TurnQueue.Entry(condition)))
        worker.pointee.isReceiver = true
        let started = platform_thread_start({ argument in
            guard let worker = argument?.assumingMemoryBound(to: Worker.self) else { return }
            worker.run()
            let pool = worker.pointee.pool
            worker.destroy()
            pool.threadEnds()
        }, worker)
        if started == 0 { return true }
        worker.destroy()
        return false
    }

    func threadEnds() {
        pointee.monitor.lock()
        locked.pointee.threads -= 1
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }

    /// Before a worker receives: counts itself as receiver, does work that was left. false: the worker is to end.
    @inline(__always)
    func awaitPermission(_ worker: UnsafeMutablePointer<Worker>) -> Bool {
        if pointee.isStopping.load(ordering: .acquiring) != 0 && shouldEnd(worker) { return false }
        if !worker.pointee.isReceiver { becomeReceiver(worker) }
        // First counted, then looked; who leaves work does it the other way round: one of us sees it.
        if pointee.hasWork.load(ordering: .sequentiallyConsistent) != 0 { doWork(worker) }
        return true
    }

    private func becomeReceiver(_ worker: UnsafeMutablePointer<Worker>) {
        pointee.receivers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        worker.pointee.isReceiver = true
    }

    /// Does the work that was left, as far as this worker may.
    func doWork(_ worker: UnsafeMutablePointer<Worker>) {
        while pointee.hasWork.load(ordering: .sequentiallyConsistent) != 0 && worker.leaveReceivers() {
            doWorkOutside()
            becomeReceiver(worker)
        }
    }

    /// The same by a thread that does not receive.
    func doWorkOutside() {
        while let pager = takeWork() {
            pager.endLeaving()
            if let job = pager.takeJob() { pager.work(job) }
            ports_port_deref(pager.pointee.port)
        }
    }

    /// The same by a thread of the translator's in the workers' place. As long as a callback there waits, the thread counts as a worker that
    /// does, so that somebody receives what it waits for.
    func doWorkForWorkers() {
        let before = platform_thread_local()
        var worker = Worker(forWorkers: self)
        withUnsafeMutablePointer(to: &worker) { worker in
            platform_set_thread_local(worker)
            doWorkOutside()
            platform_set_thread_local(before)
        }
    }

    private func shouldEnd(_ worker: UnsafeMutablePointer<Worker>) -> Bool {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        if !locked.pointee.isEnding { return false }
        // As long as others are in callbacks, or the thread that stops them waits in one, somebody receives: they may wait for it.
        let others = pointee.receivers.load(ordering: .acquiring) - (worker.pointee.isReceiver ? 1 : 0)
        if others == 0 && (locked.pointee.threads > 1 || locked.pointee.waiting > 0) { return false }
        if worker.pointee.isReceiver { pointee.receivers.wrappingSubtract(1, ordering: .relaxed) }
        return true
    }

    /// The last receiver leaves jobs of this pager to whoever comes back from a callback.
    func leaveWork(_ pager: PagerPointer) {
        pointee.monitor.lock()
        if locked.pointee.work.append(pager) { ports_port_ref(pager.pointee.port) }
        pointee.hasWork.store(1, ordering: .sequentiallyConsistent)
        pointee.monitor.unlock()
    }

    private func takeWork() -> PagerPointer? {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let pager = locked.pointee.work.removeFirst()
        if locked.pointee.work.isEmpty { pointee.hasWork.store(0, ordering: .releasing) }
        return pager
    }

    func portSetGone() {
        pointee.monitor.lock()
        locked.pointee.isEnding = true
        pointee.isStopping.store(1, ordering: .releasing)
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }
}
