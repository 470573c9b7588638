// Applying the rules to a page's word.
//
// Two ways to the same function:
//   - without a lock, by compare-and-swap: where the state before and after fits the word, and neither the write-back nor
//     a descriptor is concerned. That is all there is to an object with one client that is not in a hurry.
//   - under the lock: descriptors, and pages that the write-back holds. A word may still change under us from a direct
//     one to another (by the first way), never from or to a descriptor; so this one, too, ends in a compare-and-swap.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    @inline(__always)
    func context(direct: Bool = false, hadHolders: Bool = false, isOffered: Bool = false) -> Context {
        Context(sole: pointee.clients.attachedCount == 1, notify: pointee.notify, direct: direct,
                hadHolders: hadHolders, isOffered: isOffered)
    }

    /// Applies the event. `address`: the data that came with it, which go to the write-back where the effects say
    /// `.store`. What the effects say else is the caller's to do (Perform.swift).
    @inline(__always)
    func transition(_ page: UInt64, _ event: Event, _ context: Context, _ address: vm_address_t = 0) -> Outcome {
        guard let slot = slot(page, event) else { return Outcome.noMemory }
        let key = event.edgeKey(context)
        while true {
            let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
            if word.isDescriptor || word.isHeld { break }
            let new: Word, effects: Effects
            if let known = pointee.moves.move(word, event, key, context) {
                if known.reach.isLocked { break }
                (new, effects) = (known.new, known.effects)
            } else {
                guard let decided = decideFreely(word, event, context) else { break }
                (new, effects) = decided
            }
            if new == word || slot.pointee.weakCompareExchange(expected: word.raw, desired: new.raw,
                                                               ordering: .acquiringAndReleasing).exchanged {
                return Outcome(effects: effects, word: word, slot: slot, new: new)
            }
        }
        return transitionSlowly(page, event, key, context, address)
    }

    /// What the rules say of a word, where no lock is needed for it. (As `WordMoves` has it for moves that are remembered.)
    @inline(never)
    private func decideFreely(_ word: Word, _ event: Event, _ context: Context) -> (Word, Effects)? {
        var state = WordState(word)
        let effects = PageProtocol.step(&state, event, context)
        if WordMoves.reach(effects, state, false).isLocked { return nil }
        state.checkInvariants()
        return (state.word, effects)
    }

    /// The page's word. nil: memory is exhausted. Only what gives a client access makes a word that was not there:
    /// else it is a word apart, on which the event is void.
    @inline(__always)
    private func slot(_ page: UInt64, _ event: Event) -> WordPointer? {
        if let word = pointee.map.word(at: page) { return word }
        return makeSlot(page, event)
    }

    @inline(never)
    private func makeSlot(_ page: UInt64, _ event: Event) -> WordPointer? {
        switch event {
        case .request, .offered: return pointee.map.touch(page)
        default: return pointee.strayWord
        }
    }

    @inline(never)
    private func transitionSlowly(_ page: UInt64, _ event: Event, _ key: UInt64, _ context: Context,
                                  _ address: vm_address_t) -> Outcome {
        // A return cannot be refused for want of memory: its record is made first.
        var version: JobPointer?
        if case .returned = event { version = lockWithVersion(page) } else { pointee.monitor.lock() }
        let outcome = transitionLocked(page, event, key, context, address, &version)
        if locked.pointee.spareVersion == nil {
            locked.pointee.spareVersion = version
            version = nil
        }
        unlock()
        Memory.free(version)
        return outcome
    }

    /// Takes the lock, with an empty record for a version of the page in hand.
    private func lockWithVersion(_ page: UInt64) -> JobPointer? {
        pointee.monitor.lock()
        if let spare = locked.pointee.spareVersion {
            locked.pointee.spareVersion = nil
            spare.initialize(to: Job(next: nil, page: page, action: .write, hadHolders: false))
            return spare
        }
        pointee.monitor.unlock()
        let version = Job.create(.write, page, hadHolders: false, .waits)
        pointee.monitor.lock()
        return version
    }

    func transitionLocked(_ page: UInt64, _ event: Event, _ context: Context) -> Outcome {
        var none: JobPointer?
        return transitionLocked(page, event, event.edgeKey(context), context, 0, &none)
    }

    /// `version`: a record for the data, should they be stored; nil afterwards if it was used.
    private func transitionLocked(_ page: UInt64, _ event: Event, _ key: UInt64, _ context: Context, _ address: vm_address_t,
                                  _ version: inout JobPointer?) -> Outcome {
        guard let slot = slot(page, event) else { return Outcome.noMemory }
        while true {
            let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
            guard let (new, effects) = decide(word, event, key, context) else { return Outcome.noMemory }
            if new != word && !slot.pointee.compareExchange(expected: word.raw, desired: new.raw,
                                                            ordering: .acquiringAndReleasing).exchanged {
                pointee.descriptors.release(new)
                continue
            }
            var outcome = concern(word, new, effects)
            // `decide` took a reference for the new word, the old word gives its own back.
            pointee.descriptors.release(word)

            if effects.data == .store, let record = version {
                storeLocked(record, address)
                version = nil
            }
            if effects.action == .supplyHeld { outcome.version = pinHeldLocked(page) }
            if effects.held == .drop { dropHeldLocked(page) }
            if effects.action == .none, isWrittenAndIdle(page, new) {
                // It was kept for a waiter, and nobody waits any more.
                outcome.effects.action = retire(page, &outcome)
            }
            return outcome
        }
    }

    /// The word after the event, with a reference taken if it refers to a descriptor. nil: memory is exhausted and the
    /// event can be refused.
    private func decide(_ word: Word, _ event: Event, _ key: UInt64, _ context: Context) -> (Word, Effects)? {
        if !word.isDescriptor, let known = pointee.moves.move(word, event, key, context) {
            if known.reach != .beyond { return (word == .untouched && known.new == .resting ? word : known.new, known.effects) }
        } else if !word.isDescriptor {
            var state = WordState(word)
            let effects = PageProtocol.step(&state, event, context)
            if !state.overflowed {
                state.checkInvariants()
                return (word == .untouched && state.word == .resting ? word : state.word, effects)
            }
        }
        let table = pointee.descriptors
        if key != 0, let hit = word.isDescriptor ? table.lookup(table.descriptor(word.descriptor).pointer, key: key)
            : table.lookup(word, key: key) { return (hit.word, Effects(hit.payload)) }
        return decideAnew(word, event, context, key)
    }

    @inline(never)
    private func decideAnew(_ word: Word, _ event: Event, _ context: Context, _ key: UInt64) -> (Word, Effects)? {
        let table = pointee.descriptors

        var state = table.scratch
        table.load(word, into: state)
        let first = state.isQueueEmpty ? noClient : state.head.client
        var effects = PageProtocol.step(&state, event, context)
        if effects.count == 1 && effects.client == noClient && effects.without == noClient {
            // The first waiter alone is answered: nothing else of the state matters for that.
            effects.client = first
        }
        state.checkInvariants()
        let new: Word
        switch event {
        case .request, .offered:
            guard let stored = table.store(state) else { return nil }
            new = stored
        default:
            new = table.storeWaiting(state)
        }
        if key != 0 {
            let isPlain = effects.data == .used && effects.held == .unchanged && effects.refusal == .none && !state.isHeld
            if word.isDescriptor {
                table.remember(word.descriptor, key: key, target: new, payload: effects.payload, isPlain: isPlain)
            } else {
                table.remember(word, key: key, target: new, payload: effects.payload, isPlain: isPlain)
            }
        }
        return (new, effects)
    }

    /// The outcome, with the state that its clients are in kept alive.
    private func concern(_ old: Word, _ new: Word, _ effects: Effects) -> Outcome {
        let word: Word
        switch effects.action {
        case .flush, .downgrade: word = new
        case .supply, .supplyHeld, .error, .grantWrite: word = old
        default: return Outcome(effects: effects, word: .untouched)
        }
        let attachments = pointee.clients.core.pointee.attachments.load(ordering: .relaxed)
        if !word.isDescriptor { return Outcome(effects: effects, word: word, attachments: attachments) }
        let descriptor = pointee.descriptors.descriptor(word.descriptor)
        if effects.client != noClient { return Outcome(effects: effects, word: .untouched, attachments: attachments) }
        pointee.descriptors.retain(descriptor.pointer)
        return Outcome(effects: effects, word: word, descriptor: descriptor.pointer, attachments: attachments)
    }

    /// A move from or to a descriptor that was made before and is wanted, and that asks for nothing under the lock. nil: nothing was done.
    /// Locked, under which no word becomes a descriptor, nor the other way round, but here.
    @inline(__always)
    func moveLocked(_ slot: WordPointer, _ key: UInt64, _ isWanted: (Effects) -> Bool) -> Effects? {
        if key == 0 { return nil }
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring)), table = pointee.descriptors
        if !word.isDescriptor { return moveFromWordLocked(slot, word, key, isWanted) }
        let from = table.descriptor(word.descriptor).pointer
        guard let edge = table.edge(from, key), edge.pointee.isPlain else { return nil }
        let effects = Effects(edge.pointee.payload)
        if !isWanted(effects) { return nil }
        guard let hit = table.follow(edge) else { return nil }
        slot.pointee.store(hit.word.raw, ordering: .releasing)
        table.release(from)
        return effects
    }

    @inline(never)
    private func moveFromWordLocked(_ slot: WordPointer, _ word: Word, _ key: UInt64, _ isWanted: (Effects) -> Bool) -> Effects? {
        let table = pointee.descriptors
        guard let edge = table.edge(word, key), edge.pointee.isPlain else { return nil }
        let effects = Effects(edge.pointee.payload)
        if !isWanted(effects) { return nil }
        guard let hit = table.follow(edge) else { return nil }
        // (It may have become another word meanwhile.)
        if slot.pointee.compareExchange(expected: word.raw, desired: hit.word.raw, ordering: .acquiringAndReleasing).exchanged { return effects }
        table.release(hit.word)
        return nil
    }

    /// The last error of the page, 0: none.
    func lastError(_ page: UInt64) -> Int32 {
        guard let slot = pointee.map.word(at: page) else { return 0 }
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        if !word.isDescriptor { return WordState(word).error }
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        // Under the lock it is still a descriptor, or has become a direct word.
        let current = Word(loaded: slot.pointee.load(ordering: .acquiring))
        return current.isDescriptor ? pointee.descriptors.descriptor(current.descriptor).content.error : WordState(current).error
    }

    /// What the client has of the page now.
    @inline(never)
    func currentAccess(_ page: UInt64, _ client: ClientNumber) -> Access {
        guard let slot = pointee.map.word(at: page) else { return .none }
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        return word.isDescriptor ? pointee.descriptors.descriptor(word.descriptor).content.access(of: client)
            : WordState(word).access(of: client)
    }

    /// The outcome's work is done.
    @inline(__always)
    func releaseOutcome(_ outcome: Outcome) {
        if outcome.descriptor != nil || outcome.version != nil { releaseSlowly(outcome) }
    }

    @inline(never)
    private func releaseSlowly(_ outcome: Outcome) {
        pointee.monitor.lock()
        if let descriptor = outcome.descriptor { pointee.descriptors.release(descriptor) }
        if let version = outcome.version { releaseVersionLocked(version) }
        unlock()
    }

    private func isWrittenAndIdle(_ page: UInt64, _ word: Word) -> Bool {
        let waits: Bool
        if word.isDescriptor {
            let content = pointee.descriptors.descriptor(word.descriptor).content
            waits = content.isHeld && !content.isInvalid && content.activity == .idle
        } else {
            let state = WordState(word)
            waits = state.isHeld && !state.isInvalid && state.activity == .idle
        }
        return waits && locked.pointee.versions.newest(page)?.pointee.state == .finished
    }

    /// Report the write of a kept version again, now that the page is idle. Returns the action that follows.
    private func retire(_ page: UInt64, _ outcome: inout Outcome) -> Action {
        let again = transitionLocked(page, .writtenBack(code: 0), context())
        assert(again.descriptor == nil)
        outcome.effects.holders = again.effects.holders
        return again.effects.action
    }
}
