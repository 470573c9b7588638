// What can happen to a page. Events come from clients' messages, from the translator's callbacks and from
// the service itself; each is for one page (a message for a run of pages is one event a page).

enum Event: Equatable {
    // Messages of a client.

    /// `data_request`: the client has nothing of the page and wants it.
    case request(ClientNumber, write: Bool)
    /// `data_unlock`: the client has the page for reading and wants to write.
    case unlock(ClientNumber)
    /// `data_return`. `keepsCopy`: the client still has the page (`kernel_copy`).
    case returned(ClientNumber, dirty: Bool, keepsCopy: Bool)
    /// `lock_completed` for a lock request that the protocol itself asked for (`.flush`, `.downgrade`).
    case lockCompleted(ClientNumber)
    /// A user's flush or return of the range is completed and the client was not given the page since.
    case released(ClientNumber)
    /// The client is gone: terminated, or its control port died.
    case clientGone(ClientNumber)

    // Reports of the page's owner.

    /// `pager_read_page` returned `code` (0: there is data), `writeLock` as the callback said.
    case readDone(code: Int32, writeLock: Bool)
    /// `pager_write_page` returned for the data of `.returned` that the owner kept (`.write`).
    case writeDone(code: Int32)
    /// `pager_unlock_page` returned. `hasData`: it was called with the page's data at hand, before anybody was given them.
    case unlockDone(code: Int32, hasData: Bool = false)
    /// The answers of the last effect were sent.
    case sent
    /// `pager_notify_evict` returned.
    case notified

    // Reports of the write-back queue.

    /// The newest version of a held page was written (or not), and no newer one waits.
    /// Where the rules answer `.keep` to a success, the service reports it again as soon as the page is idle.
    case writtenBack(code: Int32)

    // The translator's own wish.

    /// `pager_offer_page`: data for this client without a request.
    case offered(ClientNumber, write: Bool, writeLock: Bool)
}

/// What the rules may know beside the page's own state.
struct Context: Equatable {
    /// A bit for each of the following: it is handed on in a register, and a part of `Event.edgeKey`.
    let bits: UInt8

    /// The object has one client: it gets a page for writing though it asked to read, as long as the
    /// translator does not ask for a write lock. (Nobody else can want it; an unlock fault is saved.)
    var sole: Bool { bits & 1 != 0 }
    /// Evictions are to be reported (`notify_on_evict`): pages are supplied precious.
    var notify: Bool { bits & 2 != 0 }
    /// The thread at hand may call the translator now: a returned page need not be queued.
    var direct: Bool { bits & 4 != 0 }
    /// With a report of the owner: somebody had the page when the reported action began
    /// (`Effects.holders` of then). Tells an eviction in between from a page that was never there.
    var hadHolders: Bool { bits & 8 != 0 }
    /// With a request: pages of this object have been offered, so the request may have been sent before its client had the page.
    var isOffered: Bool { bits & 16 != 0 }

    @inline(__always)
    init(sole: Bool = false, notify: Bool = false, direct: Bool = false, hadHolders: Bool = false, isOffered: Bool = false) {
        bits = (sole ? 1 : 0) | (notify ? 2 : 0) | (direct ? 4 : 0) | (hadHolders ? 8 : 0) | (isOffered ? 16 : 0)
    }
}
