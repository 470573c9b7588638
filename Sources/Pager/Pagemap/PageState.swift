// What is known of one page, whichever way it is stored.
//
// Two representations conform to `PageState`: `WordState` (everything inside the page's 32-bit word) and
// `ScratchState` (arrays, for a fifth client and for what the word cannot say). The protocol's rules
// (Protocol/) are generic over it, so both run the same code.
//
// Invariants of every state at rest, checked by `checkInvariants`:
//   P1  At most one client has `.write`, and then no other client has `.read`
//       (outside of `.pagingIn`, `.downgrading` and `.flushing` as well).
//   P2  A client stands in the queue at most once.
//   P3  `.idle` means that the queue is empty.
//   P4  `.revoking` occurs only while `.flushing`.

/// Number of a client (a kernel that has mapped the object), from 0, reused after the client is gone.
typealias ClientNumber = UInt32

let noClient: ClientNumber = .max

/// What one client may hold of a page. The raw value is the two-bit field of the page word:
/// low bit: granted; high bit: for writing.
enum Access: UInt8 {
    case none = 0
    case read = 1
    /// Was granted for reading; a flush was sent and its `lock_completed` has not come.
    /// (A writer that is being flushed stays `.write`, so that its dirty data is accepted.)
    case revoking = 2
    case write = 3
}

/// Who acts on the page now. The raw value is the three-bit field of the page word.
/// In the states marked *owned* one thread owns the page's side effects and will report back;
/// in the other two the page waits for clients to answer.
enum Activity: UInt8 {
    /// Nobody; the queue is empty.
    case idle = 0
    /// Owned: `pager_read_page` runs or is scheduled.
    case pagingIn = 1
    /// Owned: `pager_write_page` runs with data that only the owner has.
    case pagingOut = 2
    /// Owned: `pager_unlock_page` runs or is scheduled for the first waiter.
    case unlocking = 3
    /// Owned: answers to clients are being sent.
    case sending = 4
    /// The writer was asked to return its data and keep a read-only copy.
    case downgrading = 5
    /// Clients were asked to give the page up.
    case flushing = 6
    /// Owned: `pager_notify_evict` runs or is scheduled.
    case notifying = 7
}

/// One entry of the waiting queue.
struct Waiter: Equatable {
    var client: ClientNumber
    /// Access for writing is wanted. A writer that has `.read` already waits for an unlock
    /// (answered by a lock change); any other waits for data. (A reader that has access, too: it asked for what it may have, where pages are
    /// offered.)
    var write: Bool
}

protocol PageState {
    /// The state cannot be expressed in this representation (or an argument could not);
    /// what else it says is void.
    var overflowed: Bool { get }

    var activity: Activity { get set }
    /// The write-back queue holds the newest version of the page.
    var isHeld: Bool { get set }
    /// The backing store's version is bad: a write failed with `error`.
    var isInvalid: Bool { get set }
    /// `pager_read_page` said that a write needs `pager_unlock_page` first.
    var isWriteLocked: Bool { get set }
    /// The last error of the page (an errno), 0: none. What `pager_get_error` tells.
    var error: Int32 { get set }

    /// The error that the client's next request for write access gets, once; 0: none.
    func pendingError(of client: ClientNumber) -> Int32
    mutating func setPendingError(_ code: Int32, of client: ClientNumber)

    // Access set.
    func access(of client: ClientNumber) -> Access
    mutating func setAccess(_ access: Access, of client: ClientNumber)
    /// No client has any access (nor is being revoked).
    var isAccessEmpty: Bool { get }
    /// Some client other than this one has access (or is being revoked).
    func hasHolders(except client: ClientNumber) -> Bool
    /// The client that has `.write`, or `noClient`.
    var writer: ClientNumber { get }
    /// Some client is `.revoking` or has `.write`: what a flush waits for.
    var hasOutstanding: Bool { get }
    /// Every client other than this one: `.read` becomes `.revoking` (`.write` stays), and leaves the
    /// queue if it has access and wants to write: the flush answers its unlock.
    mutating func revokeAll(except client: ClientNumber)

    // Waiting queue, in order of arrival.
    var isQueueEmpty: Bool { get }
    var queueCount: Int { get }
    /// The waiter at this place of the queue, which must be in use.
    func waiter(at index: Int) -> Waiter
    /// The first waiter. The queue must not be empty.
    var head: Waiter { get }
    /// How many waiters at the head want to read only, and have nothing of the page.
    var leadingReaders: Int { get }
    /// Append a waiter; where the client waits already, its entry stays and takes the greater wish.
    mutating func enqueue(_ waiter: Waiter)
    mutating func removeWaiter(_ client: ClientNumber)
    /// The client leaves the queue if it wants to write.
    mutating func removeUnlock(of client: ClientNumber)
    mutating func removeFirst(_ count: Int)
    /// The first `count` waiters leave the queue and get this access.
    mutating func grantFirst(_ count: Int, _ access: Access)
}
