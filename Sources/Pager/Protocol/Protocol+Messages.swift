// The rules for what clients say.

extension PageProtocol {
    static func request<S: PageState>(_ s: inout S, _ client: ClientNumber, _ write: Bool,
                                      _ context: Context) -> Effects {
        if context.isOffered && s.activity == .idle && s.access(of: client) != .none {
            // It crossed an offer, perhaps, and the client has the page, or has it on its way back: that comes ahead of the answer to a flush.
            // (If it comes back the offer has answered the request: `returned` takes the waiter off.)
            s.enqueue(Waiter(client: client, write: write))
            if s.access(of: client) == .read { s.setAccess(.revoking, of: client) }
            return flush(&s)
        }
        let dropped = forget(&s, client)
        if context.sole && s.activity == .idle && s.isAccessEmpty && !s.isHeld && !s.isInvalid
            && s.pendingError(of: client) == 0 {
            // Alone: granted now, delivered by the end of the read.
            s.setAccess(.write, of: client)
            s.activity = .pagingIn
            return Effects(action: .read, holders: dropped)
        }
        return wait(&s, Waiter(client: client, write: write), context, evicted: dropped)
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
        case .read, .write:
            return wait(&s, Waiter(client: client, write: true), context, evicted: false)
        }
    }

    static func returned<S: PageState>(_ s: inout S, _ client: ClientNumber, _ dirty: Bool, _ keepsCopy: Bool,
                                       _ context: Context) -> Effects {
        let access = s.access(of: client)
        if access == .none { return Effects(data: .discard, refusal: .returnWithoutPage) }

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
        // The flush answered its unlock as well.
        s.removeWaiter(client)
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
