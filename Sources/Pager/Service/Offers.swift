// pager_offer_page: data for a client that did not ask.
//
// A request of the client may cross the offer, and cannot be told from one for a page that it dropped again. So once an object was offered a
// page, whoever asks for what he is recorded as having is asked to give it up first: what he has done with it comes ahead of his answer (`request` in
// Protocol+Messages.swift). That does while the request is not taken in between the offer's decision and its message; with several clients
// offers are ignored. So offering a page and taking in a request (or a client) exclude each other:
//   - an object that was never offered a page knows nothing of it, and its requests pay one load;
//   - from the first offer on, both are counted under the lock. The first offer waits until whoever had the turn then, and may not have seen
//     that there are offers now, has passed it.
// Both are short: an offer is one message to a kernel, taking in waits for nobody but offers.

import CPlatform
import Synchronization

/// Locked.
struct OfferState {
    /// Offers that are being sent.
    var sending = 0
    /// Whoever has the turn is taking in a request, or a client.
    var isTaking = false
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// It is the message's turn. Whether `endTaking` has something to undo.
    @inline(__always)
    func beginTaking() -> Bool {
        if pointee.isOffered.load(ordering: .acquiring) == 0 { return false }
        return beginTakingSlowly()
    }

    @inline(never)
    private func beginTakingSlowly() -> Bool {
        pointee.monitor.lock()
        while locked.pointee.offers.sending > 0 { _ = pointee.monitor.wait() }
        locked.pointee.offers.isTaking = true
        pointee.monitor.unlock()
        return true
    }

    @inline(__always)
    func endTaking(_ begun: Bool) { if begun { endTakingSlowly() } }

    @inline(never)
    private func endTakingSlowly() {
        pointee.monitor.lock()
        locked.pointee.offers.isTaking = false
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }

    /// `data` stay the caller's.
    func offer(_ page: UInt64, _ data: vm_address_t, precious: Bool, writeLock: Bool) {
        if UInt64(data) & (pageSize - 1) != 0 || data == 0 { return }
        beginOffer()
        if pointee.clients.attachedCount == 1 && pointee.closing.load(ordering: .sequentiallyConsistent) == 0,
           let client = soleClient() {
            let outcome = transition(page, .offered(client, write: !writeLock, writeLock: writeLock), context())
            if outcome.effects.action == .supply {
                let phase = beginAnswers()
                supplyCopy(page, outcome, data, precious: precious)
                releaseOutcome(outcome)
                let after = transition(page, .sent, context(hadHolders: true))
                endAnswers(phase)
                endOffer()
                // What follows may send more and call the translator; requests are taken in meanwhile.
                perform(page, after)
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

    private func beginOffer() {
        pointee.monitor.lock()
        if pointee.isOffered.load(ordering: .relaxed) == 0 {
            pointee.isOffered.store(1, ordering: .sequentiallyConsistent)
            noteQuickClientLocked()
            awaitPresentTurnLocked()
        }
        while locked.pointee.offers.isTaking { _ = pointee.monitor.wait() }
        locked.pointee.offers.sending += 1
        pointee.monitor.unlock()
    }

    private func endOffer() {
        pointee.monitor.lock()
        locked.pointee.offers.sending -= 1
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }
}
