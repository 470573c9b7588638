// The short way of pages that several clients have.
//
// What the rules said to a state is remembered: at the edges of its descriptor, or, where the state is in the word, by `WordMoves`. Where the
// moves of a message were made before by another page, they are followed here one after the other: a descriptor's under the lock for a few
// instructions, a word's by compare-and-swap. What they ask for is done as on the long way and in the same order (Perform.swift). A move that
// is not known, or asks for something unusual, takes the long way from there.

import CPlatform
import Synchronization

/// A page of several clients is read.
struct SharedRead: ReadMoves {
    let pager: PagerPointer
    let slot: WordPointer
    let page: UInt64
    let hadHolders: Bool

    @inline(__always) var unit: UInt32 { Executor.unit(.read) }
    @inline(__always) func read(_ pager: PagerPointer, _ offset: vm_offset_t) {
        pager.read(ExecutorHold(pager: pager), self, offset)
    }

    @inline(__always)
    func decide(_ hold: some ReadHold) -> ReadAnswer? {
        guard let (effects, client, isKnown) = pager.decideSupply(slot, page, pager.context(hadHolders: hadHolders)) else { return nil }
        return ReadAnswer(client: client, isKnown: isKnown, lock: effects.write ? 0 : VM_PROT_WRITE, precious: effects.precious ? 1 : 0,
                          holders: effects.holders)
    }

    // (Held by a reference of its own: the next read is likely another client's.)
    @inline(__always)
    func letGo(_ client: ClientPointer, _ hold: some ReadHold) { pager.release(client) }

    @inline(__always)
    func sent(_ pager: PagerPointer, _ answer: ReadAnswer) -> Bool {
        pager.move(slot, .sent, pager.context(hadHolders: answer.holders), { $0.action == .none }) != nil
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// A move of the page, if it is known and wanted.
    @inline(__always)
    fileprivate func move(_ slot: WordPointer, _ event: Event, _ context: Context, _ isWanted: (Effects) -> Bool) -> Effects? {
        let key = event.edgeKey(context), word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        if !word.isDescriptor {
            guard let known = pointee.moves.move(word, event, key, context) else { return nil }
            if known.reach != .beyond {
                guard known.reach == .plain, isWanted(known.effects), slot.pointee.compareExchange(
                    expected: word.raw, desired: known.new.raw, ordering: .acquiringAndReleasing).exchanged else { return nil }
                return known.effects
            }
        }
        pointee.monitor.lock()
        let effects = moveLocked(slot, key, isWanted)
        pointee.monitor.unlock()
        return effects
    }

    /// `data_request` for a page that has to be read. false: nothing was done.
    @inline(__always)
    func requestShared(_ client: ClientPointer, _ page: UInt64, _ offset: vm_offset_t, _ event: Event) -> Bool {
        let context = context()
        // (A lone client has its own short way.)
        guard !context.sole, let slot = pointee.map.word(at: page),
              let effects = move(slot, event, context, { $0.action == .read }) else { return false }
        beginRead(SharedRead(pager: self, slot: slot, page: page, hadHolders: effects.holders), offset)
        forgetIfGone(client.pointee.number, page)
        return true
    }

    /// The page was read: whom it goes to. The client is held (true), unless it has gone.
    @inline(__always)
    fileprivate func decideSupply(_ slot: WordPointer, _ page: UInt64, _ context: Context) -> (Effects, ClientPointer, Bool)? {
        let event = Event.readDone(code: 0, writeLock: false), key = event.edgeKey(context)
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        if !word.isDescriptor {
            // (What leads to a descriptor does not come here often: whoever is answered waited in a word.)
            guard let known = pointee.moves.move(word, event, key, context), known.reach == .plain, known.effects.action == .supply,
                  slot.pointee.compareExchange(expected: word.raw, desired: known.new.raw, ordering: .acquiringAndReleasing).exchanged
            else { return nil }
            let client = pointee.clients.client(known.effects.client)
            if !client.acquire() { return (known.effects, client, false) }
            // The client that is meant, if the page still has it recorded (`Outcome.means`).
            if slot.pointee.load(ordering: .acquiring) == known.new.raw || currentAccess(page, client.pointee.number) != .none {
                return (known.effects, client, true)
            }
            release(client)
            return (known.effects, client, false)
        }
        pointee.monitor.lock()
        let decided = moveLocked(slot, key) { $0.action == .supply && $0.client != noClient }
        // While the page names the client its number is nobody else's.
        let client = decided.map { pointee.clients.client($0.client) }
        let isKnown = client?.acquire() ?? false
        pointee.monitor.unlock()
        guard let decided, let client else { return nil }
        return (decided, client, isKnown)
    }
}
