// The rules for what clients say.

extension PageProtocol {
    static func request<S: PageState>(_ s: inout S, _ client: ClientNumber, _ write: Bool,
                                      _ context: Context) -> Effects {
        if context.isOffered && mayHavePage(s, client) { return requestOfHolder(&s, client, write) }
        let dropped = forget(&s, client)
        // (Where pages are offered the data may reach a client that does not wait. Then `.sending` must say that they are on their way.)
        if context.sole && !context.isOffered && s.activity == .idle && s.isAccessEmpty && !s.isHeld && !s.isInvalid
            && s.pendingError(of: client) == 0 {
            // Alone: granted now, delivered by the end of the read.
            s.setAccess(.write, of: client)
            s.activity = .pagingIn
            return Effects(action: .read, holders: dropped)
        }
        return wait(&s, Waiter(client: client, write: write), context, evicted: dropped)
    }

    /// The client may have what it asks for, where pages were offered: its request crossed an offer, or an answer to a request that had crossed one
    /// (a client is then answered once more than it asked). A client that is being flushed will have nothing, whichever it is; nor has one for
    /// which the page is read since before the first offer.
    private static func mayHavePage<S: PageState>(_ s: S, _ client: ClientNumber) -> Bool {
        switch (s.access(of: client), s.activity) {
        case (.none, _), (.revoking, _), (.write, .flushing), (.write, .pagingIn): return false
        default: return true
        }
    }

    /// The client is flushed first, and what it has comes back ahead of its answer; then it is served. (If it returns the page, that was
    /// the answer to the request: `returned` takes the waiter off.) While the page is busy it waits as a reader with what access it has, which says
    /// that it asked; who waits for an unlock is a writer. So its access is not taken away under it, nor given to another.
    private static func requestOfHolder<S: PageState>(_ s: inout S, _ client: ClientNumber, _ write: Bool) -> Effects {
        if s.activity != .idle {
            // An unlock of before is void: the client has lost the page since.
            s.removeWaiter(client)
            s.enqueue(Waiter(client: client, write: false))
            return .nothing
        }
        s.enqueue(Waiter(client: client, write: write))
        return flushHolder(&s, client)
    }

    /// The client waits from now on. On an idle page nobody waited before, so what is answered at once is this client.
    private static func wait<S: PageState>(_ s: inout S, _ waiter: Waiter, _ context: Context,
                                        evicted: Bool) -> Effects {
        s.enqueue(waiter)
        if s.activity != .idle { return .nothing }
        var effects = settle(&s, context, evicted: evicted)
        if effects.count > 0 { effects.client = waiter.client }
        return effects
    }

    /// The client has nothing of the page: it dropped a clean copy silently, or gave it up to a lock request
    /// whose `lock_completed` is still on its way and is waited for all the same. Whether that took an access away.
    private static func forget<S: PageState>(_ s: inout S, _ client: ClientNumber) -> Bool {
        switch (s.access(of: client), s.activity) {
        case (.none, _), (.revoking, _): return false
        case (.write, .flushing): return false
        case (.write, .downgrading):
            s.activity = .flushing
            return false
        case (.read, _), (.write, _):
            s.setAccess(.none, of: client)
            return true
        }
    }

    static func unlock<S: PageState>(_ s: inout S, _ client: ClientNumber, _ context: Context) -> Effects {
        switch s.access(of: client) {
        case .none:
            return Effects(refusal: .unlockWithoutPage)
        case .revoking:
            // It crossed our flush, which answers it.
            return .nothing
        case .write where s.activity == .flushing:
            return .nothing
        case .write where s.activity == .pagingIn:
            // (Who is alone is recorded from its request on.) It has lost the page since: that request overtook it.
            return .nothing
        case .read, .write:
            // It has lost the page since, and asked for it (`requestOfHolder`): that was overtaken by a request of another thread of the kernel's.
            if waitsAsReader(s, client) { return .nothing }
            return wait(&s, Waiter(client: client, write: true), context, evicted: false)
        }
    }

    private static func waitsAsReader<S: PageState>(_ s: S, _ client: ClientNumber) -> Bool {
        for index in 0..<s.queueCount {
            let waiter = s.waiter(at: index)
            if waiter.client == client { return !waiter.write }
        }
        return false
    }

    static func returned<S: PageState>(_ s: inout S, _ client: ClientNumber, _ dirty: Bool, _ keepsCopy: Bool,
                                       _ context: Context) -> Effects {
        let access = s.access(of: client)
        // (Who is alone is recorded from its request on, but has nothing while the page is read. Believed, its data would be written beside that.)
        if access == .none || access == .write && s.activity == .pagingIn { return Effects(data: .discard, refusal: .returnWithoutPage) }

        // Only who may write can have changed the page. A clean copy is data, too, where the store's is bad.
        let believed = dirty && access == .write
        // (What could not be written is dropped with `sent`, for the client had it: if it is back before that, it is the only copy.)
        let wanted = believed || (!dirty && s.isInvalid && (!s.isHeld || s.activity == .sending))
        let refusal: Refusal = dirty && !believed ? .dirtyFromReader : .none

        if !keepsCopy {
            // If it waits for an unlock, that is moot. (A request comes behind the return.)
            s.removeWaiter(client)
            switch (access, s.activity) {
            case (.write, .flushing), (.revoking, _): break
            case (.write, .downgrading): s.activity = .flushing
            default: s.setAccess(.none, of: client)
            }
        }
        if wanted {
            if context.direct && s.activity == .idle && !s.isHeld {
                s.activity = .pagingOut
                return Effects(action: .write, refusal: refusal)
            }
            s.isHeld = true
            // The new version will be written; until then it is read from memory.
            s.isInvalid = false
            return Effects(data: .store, refusal: refusal)
        }
        var effects = Effects.nothing
        if s.activity == .idle { effects = settle(&s, context, evicted: !keepsCopy) }
        effects.data = .discard
        effects.refusal = refusal
        return effects
    }

    static func lockCompleted<S: PageState>(_ s: inout S, _ client: ClientNumber, _ context: Context) -> Effects {
        let access = s.access(of: client)
        switch s.activity {
        case .downgrading where access == .write:
            s.setAccess(.read, of: client)
            return settle(&s, context, evicted: false)
        case .flushing where access == .write || access == .revoking:
            s.setAccess(.none, of: client)
            return s.hasOutstanding ? .nothing : settle(&s, context, evicted: true)
        default:
            return .nothing
        }
    }

    static func released<S: PageState>(_ s: inout S, _ client: ClientNumber, _ context: Context) -> Effects {
        let access = s.access(of: client)
        switch (access, s.activity) {
        case (.none, _), (.revoking, _): return .nothing
        // Its own lock request is outstanding and will say so.
        case (.write, .flushing), (.write, .downgrading): return .nothing
        // Its data is on the way to it, from before the flush or after.
        case (.write, .pagingIn), (_, .sending): return .nothing
        default: break
        }
        // The flush answered its unlock as well. (A request that crossed an offer is still to be answered.)
        s.removeUnlock(of: client)
        s.setAccess(.none, of: client)
        return s.activity == .idle ? settle(&s, context, evicted: true) : .nothing
    }

    static func clientGone<S: PageState>(_ s: inout S, _ client: ClientNumber, _ context: Context) -> Effects {
        let access = s.access(of: client)
        s.setPendingError(0, of: client)
        s.removeWaiter(client)
        s.setAccess(.none, of: client)
        let settles: Bool
        switch s.activity {
        case .idle: settles = access != .none
        case .downgrading: settles = access == .write
        case .flushing: settles = (access == .write || access == .revoking) && !s.hasOutstanding
        default: settles = false
        }
        if !settles { return .nothing }
        var effects = settle(&s, context, evicted: true)
        effects.without = client
        return effects
    }
}
