// What happens to one page: a total, pure function (state, event, context) -> (state, effects).
//
// It decides and does nothing: no locks, no messages, no memory. It is generic over the representation of the
// state, so that a page in its word and a page in a descriptor obey the same lines of code, and it is what the
// exhaustive test explores.
//
// Guarantees (see docs/design.md; checked by Tests/ProtocolTests):
//   G1  At most one client may write, and then no other may read.
//   G2  A client is given the page only after every client that had to give it up has said so (`lock_completed`,
//       or is gone); data that came back before that is the newest.
//   G3  Each request is answered once, by a supply or an error; each unlock once, by a lock change or a flush.
//   G4  Waiters are served in order of arrival; readers next to each other together.
//   G5  While nobody owns the page (`.idle`) nobody waits for it.
//
// The life of a request:
//   1. `request` puts the client in the queue. If somebody owns the page or clients are being asked, that is all:
//      whoever ends the activity looks at the queue again (`settle`).
//   2. `serve` looks at the first waiter. A reader needs the writer, if any, downgraded; a writer needs everybody
//      else flushed. Those clients are asked and the page waits for their `lock_completed`.
//   3. Nobody is in the way any more: the data comes from the write-back queue (`.supplyHeld`) or from the
//      translator (`.read`, then `.readDone`). Access is recorded before the answer leaves, since the client may
//      use it before the sender's thread runs on.
//   4. `sent`: the page is idle again, and the next waiter is served.
// A client that is alone takes a shorter way through the same function: it is recorded as having the page when
// its request comes, and the read's end says only that the data are on their way (three compare-and-swaps in all).

enum PageProtocol {
    static func step<S: PageState>(_ s: inout S, _ event: Event, _ context: Context) -> Effects {
        var effects: Effects
        switch event {
        case .request(let client, let write): effects = request(&s, client, write, context)
        case .unlock(let client): effects = unlock(&s, client, context)
        case .returned(let client, let dirty, let keepsCopy):
            effects = returned(&s, client, dirty, keepsCopy, context)
        case .lockCompleted(let client): effects = lockCompleted(&s, client, context)
        case .released(let client): effects = released(&s, client, context)
        case .clientGone(let client): effects = clientGone(&s, client, context)
        case .readDone(let code, let writeLock): effects = readDone(&s, code, writeLock, context)
        case .writeDone(let code): effects = writeDone(&s, code, context)
        case .unlockDone(let code, let hasData):
            effects = hasData ? unlockDoneBeforeSupply(&s, code, context) : unlockDone(&s, code, context)
        case .sent: effects = sent(&s, context)
        case .notified: effects = notified(&s, context)
        case .writtenBack(let code): effects = writtenBack(&s, code, context)
        case .offered(let client, let write, let writeLock):
            effects = offered(&s, client, write, writeLock, context)
        }
        // While a page is read for a client that is alone, that client is recorded, but has nothing yet.
        effects.holders = effects.action != .notify && (effects.holders || context.hadHolders || s.isHeld || !s.isAccessEmpty && !(s.activity == .pagingIn && effects.action == .read
            && s.writer != noClient))
        return effects
    }

    /// The page's owner is done, or the last client answered: make the page idle and take the next waiter, or
    /// put the page to rest. `evicted`: it may be that the last copy went just now.
    static func settle<S: PageState>(_ s: inout S, _ context: Context, evicted: Bool) -> Effects {
        s.activity = .idle
        if !s.isQueueEmpty {
            if evicted && context.notify && s.isAccessEmpty && !s.isHeld && s.head.write
                && s.pendingError(of: s.head.client) != 0 {
                // The first waiter gets an error, not the page. Told afterwards, the eviction would clear that error.
                s.activity = .notifying
                return Effects(action: .notify)
            }
            var effects = serve(&s, context)
            // Still to be told, should nobody get it after all.
            effects.holders = evicted
            return effects
        }
        var effects = Effects.nothing
        if s.isHeld && s.isInvalid {
            // A version that could not be written was kept for a waiter, who is gone.
            s.isHeld = false
            effects.held = .drop
        }
        if s.isAccessEmpty {
            // The next page-in says anew whether writing needs an unlock.
            s.isWriteLocked = false
            if evicted && context.notify && !s.isHeld {
                s.activity = .notifying
                effects.action = .notify
            }
        }
        return effects
    }

    /// The page is idle and somebody waits: do what brings the first waiter forward.
    private static func serve<S: PageState>(_ s: inout S, _ context: Context) -> Effects {
        let first = s.head
        if !first.write {
            // It asked for what it may have (`requestOfHolder`).
            if s.access(of: first.client) != .none { return flushHolder(&s, first.client) }
            if s.writer != noClient {
                s.activity = .downgrading
                return Effects(action: .downgrade)
            }
            if s.isHeld { return supplyFirst(&s, .supplyHeld, writeLock: false, context) }
            if s.isInvalid { return refuseFirst(&s, s.leadingReaders, s.error) }
            s.activity = .pagingIn
            return Effects(action: .read)
        }

        let pending = s.pendingError(of: first.client)
        if pending != 0 {
            if s.access(of: first.client) != .none {
                // An error cannot answer an unlock: flush, so that the client comes back with a request.
                s.removeFirst(1)
                s.setAccess(.revoking, of: first.client)
                return flush(&s)
            }
            s.setPendingError(0, of: first.client)
            return refuseFirst(&s, 1, pending)
        }
        if s.hasHolders(except: first.client) {
            s.revokeAll(except: first.client)
            return flush(&s)
        }
        switch s.access(of: first.client) {
        case .none, .revoking:
            if s.isHeld { return supplyFirst(&s, .supplyHeld, writeLock: false, context) }
            if s.isInvalid { return refuseFirst(&s, 1, s.error) }
            s.activity = .pagingIn
            return Effects(action: .read)
        case .read where s.isWriteLocked:
            s.activity = .unlocking
            return Effects(action: .unlock)
        case .read, .write:
            return permitFirst(&s)
        }
    }

    /// Ask this client, which waits for data all the same.
    static func flushHolder<S: PageState>(_ s: inout S, _ client: ClientNumber) -> Effects {
        if s.access(of: client) == .read { s.setAccess(.revoking, of: client) }
        return flush(&s)
    }

    /// Ask the clients that `revokeAll` marked.
    static func flush<S: PageState>(_ s: inout S) -> Effects {
        s.activity = .flushing
        // Where the backing store is bad, the clients' precious copies are all there is.
        return Effects(action: .flush, returnAll: s.isInvalid)
    }

    /// The first waiter (a writer), or the readers at the head, get the page's data.
    static func supplyFirst<S: PageState>(_ s: inout S, _ action: Action, writeLock: Bool,
                                          _ context: Context) -> Effects {
        let first = s.head
        let count = first.write ? 1 : s.leadingReaders
        let alone = context.sole && s.queueCount == 1 && s.isAccessEmpty && s.pendingError(of: first.client) == 0
        let write = (first.write || alone) && !writeLock
        s.grantFirst(count, write ? .write : .read)
        s.activity = .sending
        return Effects(action: action, count: count, write: write, precious: context.notify || s.isInvalid)
    }

    /// The first waiter, who has the page for reading, may write.
    static func permitFirst<S: PageState>(_ s: inout S) -> Effects {
        s.grantFirst(1, .write)
        s.activity = .sending
        return Effects(action: .grantWrite, count: 1)
    }

    /// The first waiters get an error. It becomes the page's last error.
    static func refuseFirst<S: PageState>(_ s: inout S, _ count: Int, _ code: Int32) -> Effects {
        s.error = code
        s.removeFirst(count)
        s.activity = .sending
        return Effects(action: .error, count: count, code: code)
    }

    /// The first waiter waits for data, and nobody else's copy forbids to give it.
    static func firstCanBeSupplied<S: PageState>(_ s: S) -> Bool {
        let first = s.head
        if s.access(of: first.client) != .none { return false }
        if first.write && s.pendingError(of: first.client) != 0 { return false }
        return first.write ? s.isAccessEmpty : s.writer == noClient
    }
}
