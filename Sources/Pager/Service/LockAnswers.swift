// `lock_completed`: a client has done what it was asked.

import CPlatform

extension UnsafeMutablePointer where Pointee == PagerObject {
    func takeLockCompleted(_ number: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t) {
        pointee.monitor.lock()
        // The first that was sent (L2 in Ledger.swift).
        guard let entry = locked.pointee.ledger.find(number, offset, length, { $0 == .sending || $0 == .sent }) else {
            pointee.monitor.unlock()
            takenIn()
            return refuse(.strayLockCompleted, UInt64(offset), UInt64(length))
        }
        let request = entry.pointee.request
        if request.isUsers {
            // Noted as there until the sweep is over.
            locked.pointee.ledger.close(entry)
        } else {
            locked.pointee.ledger.remove(entry)
            // Usually others are still to answer.
            if let slot = pointee.map.word(at: request.page),
               moveLocked(slot, Event.lockCompleted(number).edgeKey(context()), { $0.action == .none }) != nil {
                pointee.monitor.unlock()
                return takenIn()
            }
        }
        pointee.monitor.unlock()

        if request.isUsers {
            takenIn()
            sweep(entry)
        } else {
            let outcome = transition(request.page, .lockCompleted(number), context())
            takenIn(request.page, outcome)
        }
    }
}
