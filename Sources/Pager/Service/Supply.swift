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
            moved = supply(page, outcome, to: outcome.answered(at: index, pointee.descriptors), data, move: last) != .refused && last
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
            _ = supply(page, outcome, to: outcome.answered(at: index, pointee.descriptors), version.pointee.address, move: false)
        }
        pointee.counters.handOffs.increment(UInt(outcome.answeredCount))
    }

    /// `data` stay the caller's. For pager_offer_page. `beginAnswers` goes before.
    func supplyCopy(_ page: UInt64, _ outcome: Outcome, _ data: vm_address_t, precious: Bool) {
        var outcome = outcome
        outcome.effects.precious = outcome.effects.precious || precious
        _ = supply(page, outcome, to: outcome.answered(at: 0, pointee.descriptors), data, move: false)
    }

    /// One message. With `move` the data are gone unless it was refused.
    @inline(__always)
    private func supply(_ page: UInt64, _ outcome: Outcome, to number: ClientNumber, _ data: vm_address_t,
                        move: Bool) -> Delivery {
        // From now on the client may have the page: whoever sweeps after a user's flush must know (Ledger.swift).
        if pointee.rangeFlushes.load(ordering: .sequentiallyConsistent) != 0 { noteGiven(number, page) }
        let size = mach_msg_type_number_t(truncatingIfNeeded: pageSize)
        let delivery = send(number, page, by: outcome) {
            pager_control_memory_object_data_supply($0, offset(page), data, size, move ? 1 : 0,
                                      outcome.effects.write ? 0 : VM_PROT_WRITE, outcome.effects.precious ? 1 : 0, 0)
        }
        if delivery == .sent { pointee.counters.supplies.increment() }
        return delivery
    }

    func refuseAnswered(_ page: UInt64, _ outcome: Outcome) {
        for index in 0..<outcome.answeredCount {
            sendError(outcome.answered(at: index, pointee.descriptors), offset(page), vm_size_t(pageSize), outcome.effects.code)
        }
    }

    func sendError(_ number: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t, _ code: Int32) {
        pointee.counters.errors.increment()
        send(number, page(offset)) { pager_control_memory_object_data_error($0, offset, length, code) }
    }

    /// Writing is permitted to clients that have the page. No answer is asked for: what the client does next says enough.
    @inline(__always)
    func permitAnswered(_ page: UInt64, _ outcome: Outcome) {
        for index in 0..<outcome.answeredCount {
            pointee.counters.unlocks.increment()
            send(outcome.answered(at: index, pointee.descriptors), page, by: outcome) {
                pager_control_memory_object_lock_request($0, offset(page), vm_size_t(pageSize), MEMORY_OBJECT_RETURN_NONE, 0,
                                                         VM_PROT_NONE, 0)
            }
        }
    }
}
