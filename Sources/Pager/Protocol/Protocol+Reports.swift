// The rules for what the page's owner, the write-back queue and the translator report.

extension PageProtocol {
    static func readDone<S: PageState>(_ s: inout S, _ code: Int32, _ writeLock: Bool,
                                       _ context: Context) -> Effects {
        assert(s.activity == .pagingIn)
        let granted = s.writer
        // Only what this read says counts, unless a client still has the page under an earlier one.
        if granted != noClient || s.isAccessEmpty { s.isWriteLocked = false }
        if granted != noClient { return readDoneForSole(&s, granted, code, writeLock, context) }

        if s.isQueueEmpty || !firstCanBeSupplied(s) {
            // Whom it was read for is gone.
            var effects = settle(&s, context, evicted: context.hadHolders)
            effects.data = .discard
            return effects
        }
        if s.isHeld {
            // A newer version came back meanwhile.
            var effects = supplyFirst(&s, .supplyHeld, writeLock: false, context)
            effects.data = .discard
            return effects
        }
        if code != 0 {
            if context.notify && context.hadHolders && s.isAccessEmpty {
                // Told after the error, the eviction would clear it. What was refused is read again then.
                s.activity = .notifying
                return Effects(action: .notify)
            }
            return refuseFirst(&s, s.head.write ? 1 : s.leadingReaders, code)
        }
        s.error = 0
        s.isWriteLocked = writeLock
        if writeLock && s.head.write && !context.sole {
            // Given the page locked, it might lose it to the next writer before its unlock comes; as that one might, and so on. So the
            // translator is asked before, with the data at hand.
            s.activity = .unlocking
            return Effects(action: .unlock)
        }
        return supplyFirst(&s, .supply, writeLock: writeLock, context)
    }

    /// The client was recorded when it asked. From here on it may have the page, and give it back, before the owner reports `.sent`.
    private static func readDoneForSole<S: PageState>(_ s: inout S, _ client: ClientNumber, _ code: Int32,
                                                      _ writeLock: Bool, _ context: Context) -> Effects {
        if s.isHeld {
            s.activity = .sending
            return Effects(action: .supplyHeld, client: client, write: true, precious: context.notify || s.isInvalid, data: .discard)
        }
        if code != 0 {
            s.setAccess(.none, of: client)
            // Whatever the client waits for ends with the error. (If it waits for an unlock, its request has overtaken that. Left in the queue it
            // would be a request, and be answered when the client asks again; then that is answered as well, and the client
            // recorded with what the second answer gives, though it has what the first one gave.)
            s.removeWaiter(client)
            s.error = code
            s.activity = .sending
            return Effects(action: .error, client: client, code: code)
        }
        s.error = 0
        s.activity = .sending
        if writeLock {
            s.setAccess(.read, of: client)
            s.isWriteLocked = true
        }
        return Effects(action: .supply, client: client, write: !writeLock, precious: context.notify)
    }

    static func writeDone<S: PageState>(_ s: inout S, _ code: Int32, _ context: Context) -> Effects {
        assert(s.activity == .pagingOut)
        if !s.isHeld {
            noteWritten(&s, code)
            if !s.isQueueEmpty && firstCanBeSupplied(s) {
                // Owed to a waiter, written or not: the data is here.
                return supplyFirst(&s, .supply, writeLock: false, context)
            }
        }
        // Where a newer version is held, its own write tells how the store's copy is.
        var effects = settle(&s, context, evicted: true)
        effects.data = .discard
        return effects
    }

    private static func noteWritten<S: PageState>(_ s: inout S, _ code: Int32) {
        // Data that was written once is past the translator's write lock.
        s.isWriteLocked = false
        s.error = code
        s.isInvalid = code != 0
    }

    static func writtenBack<S: PageState>(_ s: inout S, _ code: Int32, _ context: Context) -> Effects {
        assert(s.isHeld)
        noteWritten(&s, code)
        var effects = Effects.nothing
        if s.activity != .idle && (code != 0 || !s.isQueueEmpty) {
            // Somebody waits for this version, or is being sent it: it need not come from the store.
            effects.held = .keep
            return effects
        }
        s.isHeld = false
        if s.activity == .idle { effects = settle(&s, context, evicted: true) }
        effects.held = .drop
        return effects
    }

    static func unlockDone<S: PageState>(_ s: inout S, _ code: Int32, _ context: Context) -> Effects {
        assert(s.activity == .unlocking)
        let stillAsked = !s.isQueueEmpty && s.head.write && s.access(of: s.head.client) == .read
        if code == 0 {
            s.isWriteLocked = false
            return stillAsked ? permitFirst(&s) : settle(&s, context, evicted: context.hadHolders)
        }
        if !stillAsked { return settle(&s, context, evicted: context.hadHolders) }
        // The flush answers the unlock; the code waits for the client's next request to write.
        let client = s.head.client
        s.removeFirst(1)
        s.isWriteLocked = false
        s.error = code
        s.setPendingError(code, of: client)
        s.setAccess(.revoking, of: client)
        return flush(&s)
    }

    /// The data are at hand, and nobody has the page.
    static func unlockDoneBeforeSupply<S: PageState>(_ s: inout S, _ code: Int32, _ context: Context) -> Effects {
        assert(s.activity == .unlocking && s.isAccessEmpty && !s.isHeld)
        s.isWriteLocked = false
        if !s.isQueueEmpty && firstCanBeSupplied(s) {
            if code == 0 { return supplyFirst(&s, .supply, writeLock: false, context) }
            if !s.head.write {
                // The writer is gone.
                s.isWriteLocked = true
                return supplyFirst(&s, .supply, writeLock: true, context)
            }
            // The request for writing at hand gets the error, by `settle`: behind an eviction notice that is owed.
            s.setPendingError(code, of: s.head.client)
        }
        var effects = settle(&s, context, evicted: context.hadHolders)
        effects.data = .discard
        return effects
    }

    static func sent<S: PageState>(_ s: inout S, _ context: Context) -> Effects {
        assert(s.activity == .sending)
        var dropped = false
        if s.isHeld && s.isInvalid && !s.isAccessEmpty {
            // The version that could not be written is with a client now, precious.
            s.isHeld = false
            dropped = true
        }
        var effects = settle(&s, context, evicted: context.hadHolders)
        if dropped { effects.held = .drop }
        return effects
    }

    static func notified<S: PageState>(_ s: inout S, _ context: Context) -> Effects {
        assert(s.activity == .notifying)
        s.error = 0
        return settle(&s, context, evicted: false)
    }

    /// Only where the client is alone: a request of its may be on its way, and is then taken as one for a page that it
    /// dropped. Alone it is granted the page anew in the same step (`request`), so what it has stays accounted for; with other clients
    /// it would lose, for a moment, an access that it uses. The service takes in no request while an offer is being sent.
    static func offered<S: PageState>(_ s: inout S, _ client: ClientNumber, _ write: Bool, _ writeLock: Bool,
                                      _ context: Context) -> Effects {
        if !context.sole || !s.isAccessEmpty || s.activity != .idle || s.isHeld || s.isInvalid
            || s.pendingError(of: client) != 0 {
            return Effects(refusal: .offerNotWanted)
        }
        s.setAccess(write ? .write : .read, of: client)
        if writeLock { s.isWriteLocked = true }
        s.activity = .sending
        return Effects(action: .supply, client: client, write: write, precious: context.notify)
    }
}
