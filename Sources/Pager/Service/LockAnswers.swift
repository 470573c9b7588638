// `lock_completed`: a client has done what it was asked.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    func takeLockCompleted(_ number: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t) {
        pointee.monitor.lock()
        if let (batch, client) = findBatchLocked(number, offset, length) {
            let page = batch.pointee.request.page
            locked.pointee.ledger.batches.answer(batch, client)
            return completeLocked(page, number)
        }
        takeOtherLocked(number, offset, length)
    }

    /// The batch to which the client's answer belongs (L2 in Ledger.swift), and the client there.
    @inline(__always)
    private func findBatchLocked(_ number: ClientNumber, _ offset: vm_offset_t,
                                 _ length: vm_size_t) -> (batch: LockBatchPointer, client: BatchedClientPointer)? {
        guard let page = singlePage(offset, length), let found = locked.pointee.ledger.batches.find(page, number) else { return nil }
        if !locked.pointee.ledger.isEmpty, let entry = sentLocked(number, offset, length),
           entry.pointee.serial < found.batch.pointee.serial { return nil }
        return found
    }

    /// The first entry with this key that was sent, or is being sent.
    private func sentLocked(_ number: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t) -> LockEntryPointer? {
        locked.pointee.ledger.find(number, offset, length) { $0 == .sending || $0 == .sent }
    }

    @inline(never)
    private func takeOtherLocked(_ number: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t) {
        guard let entry = sentLocked(number, offset, length) else {
            pointee.monitor.unlock()
            takenIn()
            return refuse(.strayLockCompleted, UInt64(offset), UInt64(length))
        }
        if entry.pointee.request.isUsers {
            // Noted as there until the sweep is over.
            locked.pointee.ledger.close(entry)
            pointee.monitor.unlock()
            takenIn()
            sweep(entry)
        } else {
            let page = entry.pointee.request.page
            locked.pointee.ledger.remove(entry)
            completeLocked(page, number)
        }
    }

    /// The client has done what the protocol asked. Lets the lock go.
    @inline(__always)
    private func completeLocked(_ page: UInt64, _ number: ClientNumber) {
        let event = Event.lockCompleted(number), context = context()
        // Usually others are still to answer.
        if let slot = pointee.map.word(at: page) {
            let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
            if word.isDescriptor, moveLocked(slot, word, event.edgeKey(context), { $0.action == .none }) != nil {
                pointee.monitor.unlock()
                return takenIn()
            }
        }
        let outcome = transitionLocked(page, event, context)
        unlock()
        takenIn(page, outcome)
    }
}
