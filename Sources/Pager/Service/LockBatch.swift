// The protocol's lock requests for one page, to all clients that have it.
//
// As `requestLock` for each (Ledger.swift, L1-L3), but the entries of all are made in one hold of the lock, and noted as sent in another. Between the
// two the requests are sent, in the order of the entries.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Asks all that the outcome names, which was decided under the lock. false: there is only one, or no memory, and nothing was done.
    func requestLocks(_ asked: LockRequest, _ outcome: Outcome) -> Bool {
        var outstanding = 0
        outcome.forEachOutstanding(pointee.descriptors) { _ in outstanding += 1 }
        if outstanding < 2 { return false }
        // Those to whom this thread sends, by the place of their entry.
        guard let clients = Memory.allocate(ClientPointer?.self, outstanding) else { return false }
        var request = asked
        request.offset = offset(request.page)
        request.length = vm_size_t(pageSize)

        let now = platform_clock_ms()
        lockWithSpares(outstanding)
        let firstSerial = locked.pointee.ledger.nextSerial
        var count = 0
        outcome.forEachOutstanding(pointee.descriptors) { number in
            let client = pointee.clients.client(number)
            // A client that is leaving has its entries taken away under this lock; after that none may come. One that is attached is known,
            // so it can be acquired; and it is the one that is meant if it was there by then (`Outcome.means`).
            if client.pointee.attached.load(ordering: .acquiring) == 0 || !outcome.means(client, request.page, self) { return }
            guard let entry = locked.pointee.ledger.takeSpare(), client.acquire() else { return }
            entry.initialize(to: LockEntry(serial: 0, client: number, request: request, asked: now))
            locked.pointee.ledger.append(entry)
            if becomeNextLocked(entry) {
                clients[count] = client
            } else {
                // Whoever sends now sends this one next. (The client stays known: it is attached, and we hold the lock.)
                client.pointee.references.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                clients[count] = nil
            }
            count += 1
        }
        pointee.monitor.unlock()

        if request.flush { pointee.counters.flushes.increment(UInt(count)) } else { pointee.counters.downgrades.increment(UInt(count)) }
        sendLocks(clients, count, request)
        noteSent(clients, count, request, firstSerial)
        Memory.free(clients)
        return true
    }

    /// Takes the lock, with so many spare records in the ledger.
    private func lockWithSpares(_ count: Int) {
        pointee.monitor.lock()
        while locked.pointee.ledger.spareCount < count {
            pointee.monitor.unlock()
            let made = Memory.allocate(LockEntry.self, 1, .waits)
            pointee.monitor.lock()
            if let made { locked.pointee.ledger.giveSpare(made) }
        }
    }

    private func sendLocks(_ clients: UnsafeMutablePointer<ClientPointer?>, _ count: Int, _ request: LockRequest) {
        let name = portName
        // A kernel may keep us in this call while it waits for something else from us.
        Worker.mayWait()
        for index in 0..<count {
            guard let client = clients[index] else { continue }
            let result = pager_control_memory_object_lock_request(control(client), request.offset, request.length, request.returns,
                                                                  request.flush ? 1 : 0, request.lock, name)
            if result != 0 { sendLockAgain(client, request, name, result) }
        }
    }

    @inline(never)
    private func sendLockAgain(_ client: ClientPointer, _ request: LockRequest, _ name: mach_port_t, _ result: kern_return_t) {
        _ = sendAgain(client, page(request.offset), result) {
            pager_control_memory_object_lock_request($0, request.offset, request.length, request.returns, request.flush ? 1 : 0,
                                                     request.lock, name)
        }
    }

    private func noteSent(_ clients: UnsafeMutablePointer<ClientPointer?>, _ count: Int, _ request: LockRequest, _ firstSerial: UInt64) {
        var index = 0
        pointee.monitor.lock()
        while index < count {
            defer { index += 1 }
            guard let client = clients[index] else { continue }
            if let queued = sentLocked(client.pointee.number, request, firstSerial + widen(index)) {
                pointee.monitor.unlock()
                sendRest(queued)
                pointee.monitor.lock()
            }
        }
        pointee.monitor.unlock()
        for index in 0..<count {
            if let client = clients[index] { release(client) }
        }
    }
}
