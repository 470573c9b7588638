// The state of a page in the plainest form: arrays and dictionaries, no bits.
//
// Guarantees:
//   - Written from the documentation of `PageState` alone, not from either of the engine's representations:
//     it is the third opinion that those two are compared with (StepTable.swift).
//   - A value: equal states are equal values, so states can be interned.
//   - Never overflows.

@testable import Pager

struct ModelState: PageState, Hashable {
    var activity = Activity.idle
    var isHeld = false
    var isInvalid = false
    var isWriteLocked = false
    private var lastError: Int32 = 0
    private var pending: [ClientNumber: Int32] = [:]
    private var accesses: [ClientNumber: Access] = [:]
    private var waiters: [ModelWaiter] = []

    private struct ModelWaiter: Hashable {
        var client: ClientNumber
        var write: Bool
    }

    var overflowed: Bool { false }

    /// An invalid page always has an error: without one it is valid.
    var error: Int32 {
        get { lastError }
        set {
            lastError = newValue
            if newValue == 0 { isInvalid = false }
        }
    }

    func pendingError(of client: ClientNumber) -> Int32 { pending[client] ?? 0 }

    mutating func setPendingError(_ code: Int32, of client: ClientNumber) {
        pending[client] = code == 0 ? nil : code
    }

    func access(of client: ClientNumber) -> Access { accesses[client] ?? .none }

    mutating func setAccess(_ access: Access, of client: ClientNumber) {
        accesses[client] = access == .none ? nil : access
    }

    var isAccessEmpty: Bool { accesses.isEmpty }

    func hasHolders(except client: ClientNumber) -> Bool { accesses.keys.contains { $0 != client } }

    var writer: ClientNumber { accesses.first { $0.value == .write }?.key ?? noClient }

    var hasOutstanding: Bool { accesses.values.contains { $0 == .write || $0 == .revoking } }

    mutating func revokeAll(except client: ClientNumber) {
        let accesses = accesses
        waiters.removeAll { $0.client != client && $0.write && accesses[$0.client] != nil }
        for (other, access) in accesses where other != client && access == .read { setAccess(.revoking, of: other) }
    }

    var isQueueEmpty: Bool { waiters.isEmpty }
    var queueCount: Int { waiters.count }
    func waiter(at index: Int) -> Waiter { queue[index] }
    var head: Waiter { queue[0] }
    var leadingReaders: Int { waiters.prefix { !$0.write && accesses[$0.client] == nil }.count }

    mutating func enqueue(_ waiter: Waiter) {
        if let index = waiters.firstIndex(where: { $0.client == waiter.client }) {
            if waiter.write { waiters[index].write = true }
        } else {
            waiters.append(ModelWaiter(client: waiter.client, write: waiter.write))
        }
    }

    mutating func removeWaiter(_ client: ClientNumber) { waiters.removeAll { $0.client == client } }

    mutating func removeUnlock(of client: ClientNumber) { waiters.removeAll { $0.client == client && $0.write } }

    mutating func removeFirst(_ count: Int) { waiters.removeFirst(count) }

    mutating func grantFirst(_ count: Int, _ access: Access) {
        for waiter in waiters.prefix(count) { setAccess(access, of: waiter.client) }
        removeFirst(count)
    }

    // For the tests.

    var queue: [Waiter] { waiters.map { Waiter(client: $0.client, write: $0.write) } }
    var holders: [ClientNumber] { accesses.keys.sorted() }
    var clientsWithPendingError: [ClientNumber] { pending.keys.sorted() }

    /// By the layout of the page word: what only a descriptor can say.
    var fitsWord: Bool {
        let few = holders.allSatisfy { $0 < 4 } && waiters.allSatisfy { $0.client < 4 }
        let plainError = [0, Errno.io, Errno.noSpace, Errno.quota].contains(error)
        let oneMeaning = error == 0 ? !isInvalid : !isWriteLocked
        return few && plainError && oneMeaning && pending.isEmpty
    }

    /// Says the same in another representation, which must be at rest, with other numbers for the clients.
    func write<S: PageState>(to other: inout S, number: (ClientNumber) -> ClientNumber = { $0 }) {
        other.activity = activity
        other.isHeld = isHeld
        other.error = error
        other.isInvalid = isInvalid
        other.isWriteLocked = isWriteLocked
        for (client, code) in pending { other.setPendingError(code, of: number(client)) }
        for (client, access) in accesses { other.setAccess(access, of: number(client)) }
        for waiter in queue { other.enqueue(Waiter(client: number(waiter.client), write: waiter.write)) }
    }

    /// What another representation says of clients 0 to `clients - 1`, read through the protocol alone.
    init<S: PageState>(reading other: S, clients: ClientNumber, queue: [Waiter]) {
        activity = other.activity
        isHeld = other.isHeld
        isWriteLocked = other.isWriteLocked
        error = other.error
        isInvalid = other.isInvalid
        for client in 0..<clients {
            setPendingError(other.pendingError(of: client), of: client)
            setAccess(other.access(of: client), of: client)
        }
        for waiter in queue { enqueue(waiter) }
    }

    init() {}
}

extension ModelState: CustomStringConvertible {
    var description: String {
        var text = "\(activity)"
        if isHeld { text += " held" }
        if isInvalid { text += " invalid" }
        if isWriteLocked { text += " locked" }
        if error != 0 { text += " error \(error)" }
        for client in holders { text += " \(client):\(access(of: client))" }
        for client in clientsWithPendingError { text += " \(client):pending \(pendingError(of: client))" }
        if !waiters.isEmpty { text += " queue [" + waiters.map { "\($0.client)\($0.write ? "w" : "r")" }.joined(separator: " ") + "]" }
        return text
    }
}
