// Answers to clients: data, errors, permission to write. Each is one message to one client; no lock is held.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// `data_supply` to the answered clients from `data`, which are ours and go with the last message.
    @inline(__always)
    func supply(_ page: UInt64, _ outcome: Outcome, _ data: vm_address_t) {
        let count = outcome.answeredCount
        var moved = false
        for index in 0..<count {
            let last = index == count - 1
            let sent = supply(page, outcome, to: outcome.answered(at: index), data, move: last)
            moved = sent && last
        }
        if !moved { freePages(data, 1) }
    }

    /// The same from the write-back, which keeps its copy.
    func supplyHeld(_ page: UInt64, _ outcome: Outcome) {
        guard let version = outcome.version else {
            assertionFailure("a held page without a version")
            return
        }
        for index in 0..<outcome.answeredCount {
            _ = supply(page, outcome, to: outcome.answered(at: index), version.pointee.address, move: false)
        }
        pointee.counters.handOffs.increment(UInt(outcome.answeredCount))
    }

    /// `data` stay the caller's. For pager_offer_page.
    func supplyCopy(_ page: UInt64, _ outcome: Outcome, _ data: vm_address_t, precious: Bool) {
        var outcome = outcome
        outcome.effects.precious = outcome.effects.precious || precious
        _ = supply(page, outcome, to: outcome.answered(at: 0), data, move: false)
    }

    /// One message. true: it was sent, and with `move` the data are gone.
    @inline(__always)
    private func supply(_ page: UInt64, _ outcome: Outcome, to number: ClientNumber, _ data: vm_address_t,
                        move: Bool) -> Bool {
        let client = pointee.clients.client(number)
        if !client.acquire() { return false }
        let result = memory_object_data_supply(
            client.pointee.control.load(ordering: .relaxed), offset(page), data,
            mach_msg_type_number_t(truncatingIfNeeded: pageSize), move ? 1 : 0,
            outcome.effects.write ? 0 : VM_PROT_WRITE, outcome.effects.precious ? 1 : 0, 0)
        // From now on the client may have the page: whoever sweeps after a user's flush must know (Ledger.swift).
        if pointee.rangeFlushes.load(ordering: .sequentiallyConsistent) != 0 { noteGiven(number, page) }
        release(client)
        if result != 0 {
            noteSendFailure(page, result)
            return false
        }
        pointee.counters.supplies.increment()
        return true
    }

    func refuseAnswered(_ page: UInt64, _ outcome: Outcome) {
        for index in 0..<outcome.answeredCount {
            sendError(outcome.answered(at: index), offset(page), vm_size_t(pageSize), outcome.effects.code)
        }
    }

    func sendError(_ number: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t, _ code: Int32) {
        let client = pointee.clients.client(number)
        if !client.acquire() { return }
        let result = memory_object_data_error(client.pointee.control.load(ordering: .relaxed), offset, length, code)
        release(client)
        pointee.counters.errors.increment()
        if result != 0 { noteSendFailure(page(offset), result) }
    }

    /// Writing is permitted to clients that have the page.
    @inline(__always)
    func permitAnswered(_ page: UInt64, _ outcome: Outcome) {
        for index in 0..<outcome.answeredCount {
            let client = pointee.clients.client(outcome.answered(at: index))
            if !client.acquire() { continue }
            // No answer is asked for: what the client does next says enough.
            let result = memory_object_lock_request(
                client.pointee.control.load(ordering: .relaxed), offset(page), vm_size_t(pageSize),
                MEMORY_OBJECT_RETURN_NONE, 0, VM_PROT_NONE, 0)
            release(client)
            pointee.counters.unlocks.increment()
            if result != 0 { noteSendFailure(page, result) }
        }
    }

    /// A message to a client could not be sent. If the client is dead, its dead name is announced to us as well and
    /// ends what it waits for; else the client has to ask again.
    @inline(never)
    func noteSendFailure(_ page: UInt64, _ result: kern_return_t) {
        refuse(.sendFailed, UInt64(offset(page)), UInt64(UInt32(bitPattern: result)))
    }
}
