// pager_offer_page: data for a client that did not ask.
//
// A request of the client may cross the offer, and cannot be told from one for a page that it dropped again. That is harmless
// while it is the only client (`offered` in Protocol+Reports.swift); with several, offers are ignored. Two waits keep it so:
//   - no request is taken in while an offer is being sent (one message, which waits for nobody);
//   - a client that attaches meanwhile is not told to begin (`memory_object_ready`) before the offer is sent: what crossed it
//     is then in our port's queue, ahead of anything that the new client can ask.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// `data` stay the caller's.
    func offer(_ page: UInt64, _ data: vm_address_t, precious: Bool, writeLock: Bool) {
        if UInt64(data) & (pageSize - 1) != 0 || data == 0 { return }
        pointee.offers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        // Counted first, then looked: a client that attaches is seen here or waits for us.
        if pointee.clients.attachedCount == 1 && pointee.closing.load(ordering: .sequentiallyConsistent) == 0,
           let client = soleClient() {
            let outcome = transition(page, .offered(client, write: !writeLock, writeLock: writeLock), context())
            if outcome.effects.action == .supply {
                let phase = beginAnswers()
                supplyCopy(page, outcome, data, precious: precious)
                releaseOutcome(outcome)
                let after = transition(page, .sent, context(hadHolders: true))
                endAnswers(phase)
                let next = advance(page, after, 0)
                endOffer()
                if let next { start(next) }
                forgetIfGone(client, page)
                return
            }
        }
        endOffer()
    }

    private func soleClient() -> ClientNumber? {
        for number in 0..<clientNumbersUsed()
        where pointee.clients.client(number).pointee.attached.load(ordering: .acquiring) != 0 { return number }
        return nil
    }

    private func endOffer() {
        pointee.monitor.lock()
        if pointee.offers.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0 {
            pointee.monitor.wakeAll()
        }
        pointee.monitor.unlock()
    }

    @inline(never)
    func awaitOffers() {
        pointee.monitor.lock()
        while pointee.offers.load(ordering: .sequentiallyConsistent) != 0 { _ = pointee.monitor.wait() }
        pointee.monitor.unlock()
    }
}
