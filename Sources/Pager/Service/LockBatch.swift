// The protocol's lock requests for a page, to all clients that have it.
//
// The record of them (LockBatches.swift) is made in the hold of the lock in which the page's state said so. What is to be sent is sent after
// the message's turn has passed, without the lock. Where there is no memory for the record, or one of the clients is being asked for the same
// range by a user, each client is asked by itself (`requestLock` in Ledger.swift).

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Notes that all clients that are outstanding in this state, which the page came into in this hold of the lock, are asked: to flush
    /// the page, or to become readers. `sendBatch` must follow. nil: nothing was done. Locked.
    @inline(never)
    func noteBatchLocked(_ page: UInt64, _ state: Word, _ effects: Effects) -> LockBatchPointer? {
        let downgrade = effects.action == .downgrade
        let request = lockRequest(page, effects)
        if !state.isDescriptor {
            let isQuiet = locked.pointee.ledger.isEmpty
            guard let batch = locked.pointee.ledger.batches.make(WordLayout.clients, request, asked: platform_clock_ms()) else { return nil }
            var left = WordState(state).outstanding
            while left != 0 {
                let number = UInt32(truncatingIfNeeded: left.trailingZeroBitCount) / 2
                left &= left &- 1
                if !addLocked(number, to: batch, isQuiet) { return giveUpLocked(batch) }
            }
            return startLocked(batch, downgrade)
        }
        return noteWideLocked(state, request)
    }

    @inline(never)
    private func noteWideLocked(_ state: Word, _ request: LockRequest) -> LockBatchPointer? {
        let content = pointee.descriptors.descriptor(state.descriptor).content
        guard let batch = locked.pointee.ledger.batches.make(content.accessLimit, request,
                                                             asked: platform_clock_ms()) else { return nil }
        var isAlone = true
        let isQuiet = locked.pointee.ledger.isEmpty
        content.forEachAccess { number, held in
            if (held == .revoking || held == .write) && !addLocked(number, to: batch, isQuiet) { isAlone = false }
        }
        return isAlone ? startLocked(batch, !request.flush) : giveUpLocked(batch)
    }

    /// false: somebody else is asking the client for this range, or will next. `isQuiet`: nobody is asking anybody.
    @inline(__always)
    private func addLocked(_ number: ClientNumber, to batch: LockBatchPointer, _ isQuiet: Bool) -> Bool {
        let client = pointee.clients.client(number)
        // A client that is leaving has its requests taken away under this lock; after that none may come. (One that is attached is known.)
        if client.pointee.attached.load(ordering: .acquiring) == 0 { return true }
        if !isQuiet && locked.pointee.ledger.isAsking(number, batch.pointee.request) { return false }
        if client.acquire() { batch.append(number, client) }
        return true
    }

    @inline(__always)
    private func startLocked(_ batch: LockBatchPointer, _ downgrade: Bool) -> LockBatchPointer? {
        if batch.pointee.count == 0 { return giveUpLocked(batch) }
        batch.pointee.serial = locked.pointee.ledger.takeSerial()
        locked.pointee.ledger.batches.insert(batch)
        let count = UInt(batch.pointee.count)
        if downgrade { pointee.counters.downgrades.increment(count) } else { pointee.counters.flushes.increment(count) }
        return batch
    }

    @inline(never)
    private func giveUpLocked(_ batch: LockBatchPointer) -> LockBatchPointer? {
        for place in 0..<batch.pointee.count {
            // (They are attached, and stay so while the lock is held.)
            batch.client(at: place).pointee.references.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        }
        locked.pointee.ledger.batches.giveBack(batch)
        return nil
    }

    /// Sends the requests of a batch, in the order of its clients, and then what queued up behind them.
    @inline(__always)
    func sendBatch(_ batch: LockBatchPointer) {
        let name = portName, request = batch.pointee.request
        // A kernel may keep us in this call while it waits for something else from us.
        Worker.mayWait()
        for place in 0..<batch.pointee.count {
            let client = batch.client(at: place)
            let result = pager_control_memory_object_lock_request(control(client), request.offset, request.length, request.returns,
                                                                  request.flush ? 1 : 0, request.lock, name)
            if result != 0 { sendLockAgain(client, request, name, result) }
            release(client)
        }
        pointee.monitor.lock()
        if !locked.pointee.ledger.isEmpty { sendBehindLocked(batch) }
        locked.pointee.ledger.batches.sent(batch)
        pointee.monitor.unlock()
    }

    @inline(never)
    private func sendLockAgain(_ client: ClientPointer, _ request: LockRequest, _ name: mach_port_t, _ result: kern_return_t) {
        _ = sendAgain(client, page(request.offset), result) {
            pager_control_memory_object_lock_request($0, request.offset, request.length, request.returns, request.flush ? 1 : 0,
                                                     request.lock, name)
        }
    }

    /// What users asked of the batch's clients meanwhile. Locked; let go while something is sent.
    @inline(never)
    private func sendBehindLocked(_ batch: LockBatchPointer) {
        let request = batch.pointee.request
        locked.pointee.ledger.batches.noteSendingBehind(batch)
        for place in 0..<batch.pointee.count {
            guard let queued = nextLocked(batch.number(at: place), request) else { continue }
            pointee.monitor.unlock()
            sendRest(queued)
            pointee.monitor.lock()
        }
    }
}
