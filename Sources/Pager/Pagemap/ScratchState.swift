// The wide representation of a page that is being looked at or changed.
//
// Guarantees:
//   - Operations never fail and never allocate: there is room for every client that was reserved for
//     (`reserve`, when the client registers), and a client has at most one entry in each array.
//     So `overflowed` is always false.
//   - Each operation means what the same operation of `WordState` means.
//   - Cost: `access(of:)` is a binary search; `revokeAll`, `grantFirst`, loading and storing are linear in the
//     number of entries, up to a logarithm; the yes-or-no questions are constant.
//
// A `ScratchState` is a handle: copies of it are the same state. Each descriptor table has two of them, for use
// under the pager's lock; `copy(from:)` keeps what a state was.

import CPlatform

struct ScratchState {
    struct Storage {
        var summary = ContentSummary()
        /// Number of entries that each array has room for.
        var capacity: Int
        /// One block: access entries, queue, pending errors.
        var access: UnsafeMutablePointer<PackedEntry>
        var queue: UnsafeMutablePointer<PackedEntry>
        var pending: UnsafeMutablePointer<PendingError>
        /// Where the state is encoded: as many bytes as the access entries.
        var map: UnsafeMutablePointer<UInt64>
    }

    let storage: UnsafeMutablePointer<Storage>

    /// Bytes of the arrays for one client.
    private static let bytesPerClient = 3 * MemoryLayout<PackedEntry>.stride + MemoryLayout<PendingError>.stride

    /// A state at rest, with room for the clients of a word. nil: memory is exhausted.
    static func create() -> ScratchState? {
        let capacity = Int(WordLayout.clients)
        guard let storage = Memory.allocate(Storage.self, 1) else { return nil }
        guard let arrays = Arrays(capacity) else {
            Memory.free(storage)
            return nil
        }
        storage.initialize(to: Storage(capacity: capacity, access: arrays.access, queue: arrays.queue,
                                       pending: arrays.pending, map: arrays.map))
        return ScratchState(storage: storage)
    }

    func destroy() {
        Memory.free(storage.pointee.access)
        Memory.free(storage)
    }

    /// Makes room for this many clients; what the state says stays. false: memory is exhausted, nothing changed.
    func reserve(clients count: Int) -> Bool {
        if count <= storage.pointee.capacity { return true }
        // Doubling, so that clients that come one by one cost a constant time each.
        var capacity = storage.pointee.capacity
        while capacity < count { capacity *= 2 }
        guard let arrays = Arrays(capacity) else { return false }
        let old = storage.pointee
        arrays.access.update(from: old.access, count: Int(old.summary.accessCount))
        arrays.queue.update(from: old.queue, count: Int(old.summary.queueCount))
        arrays.pending.update(from: old.pending, count: Int(old.summary.pendingCount))
        storage.pointee.capacity = capacity
        storage.pointee.access = arrays.access
        storage.pointee.queue = arrays.queue
        storage.pointee.pending = arrays.pending
        storage.pointee.map = arrays.map
        Memory.free(old.access)
        return true
    }

    var capacity: Int { storage.pointee.capacity }

    /// Bytes that the state occupies.
    var bytes: Int { MemoryLayout<Storage>.stride + capacity * ScratchState.bytesPerClient }

    private struct Arrays {
        let access: UnsafeMutablePointer<PackedEntry>
        let queue: UnsafeMutablePointer<PackedEntry>
        let pending: UnsafeMutablePointer<PendingError>
        let map: UnsafeMutablePointer<UInt64>

        init?(_ capacity: Int) {
            guard let block = Memory.allocateBytes(capacity * ScratchState.bytesPerClient) else { return nil }
            let entries = 2 * capacity
            access = block.bindMemory(to: PackedEntry.self, capacity: entries)
            queue = access + capacity
            pending = (block + entries * MemoryLayout<PackedEntry>.stride)
                .bindMemory(to: PendingError.self, capacity: capacity)
            // (The capacity is even.)
            map = UnsafeMutableRawPointer(pending + capacity).bindMemory(to: UInt64.self, capacity: capacity / 2)
        }
    }

    /// What the state says now; void after the next change.
    @inline(__always)
    var content: PageContent {
        PageContent(summary: storage.pointee.summary, accessEntries: UnsafePointer(storage.pointee.access),
                    queueEntries: UnsafePointer(storage.pointee.queue),
                    pendingErrors: UnsafePointer(storage.pointee.pending))
    }

    /// The waiter at this place of the queue.
    func waiter(at index: Int) -> Waiter { content.waiter(at: index) }

    var summary: ContentSummary {
        get { storage.pointee.summary }
        nonmutating set { storage.pointee.summary = newValue }
    }
}

extension ScratchState: PageState {
    var overflowed: Bool { false }

    var activity: Activity {
        get { summary.activity }
        set { summary.activity = newValue }
    }

    var isHeld: Bool {
        get { summary.isHeld }
        set { summary.isHeld = newValue }
    }

    var isInvalid: Bool {
        get { summary.isInvalid }
        set { summary.isInvalid = newValue }
    }

    var isWriteLocked: Bool {
        get { summary.isWriteLocked }
        set { summary.isWriteLocked = newValue }
    }

    var error: Int32 {
        get { summary.error }
        set {
            summary.error = newValue
            // An invalid page always has an error.
            if newValue == 0 { summary.isInvalid = false }
        }
    }

    func pendingError(of client: ClientNumber) -> Int32 { content.pendingError(of: client) }

    mutating func setPendingError(_ code: Int32, of client: ClientNumber) {
        let index = content.pendingPosition(client)
        let count = Int(summary.pendingCount)
        let pending = storage.pointee.pending
        let present = index < count && pending[index].client == client
        if code == 0 {
            if present { summary.pendingCount = closeGap(pending, index, count) }
            return
        }
        precondition(client <= PackedEntry.maximumClient)
        if !present { summary.pendingCount = openGap(pending, index, count) }
        pending[index] = PendingError(client: client, code: code)
    }

    // Access set.

    func access(of client: ClientNumber) -> Access { content.access(of: client) }

    mutating func setAccess(_ access: Access, of client: ClientNumber) {
        let index = content.accessPosition(client)
        let count = Int(summary.accessCount)
        let entries = storage.pointee.access
        let present = index < count && entries[index].client == client
        if present { summary.note(entries[index].access, entered: false) }
        if access == .none {
            if present { summary.accessCount = closeGap(entries, index, count) }
            return
        }
        let entry = PackedEntry(client, access)
        if !present { summary.accessCount = openGap(entries, index, count) }
        entries[index] = entry
        summary.note(access, entered: true)
    }

    var isAccessEmpty: Bool { summary.accessCount == 0 }

    func hasHolders(except client: ClientNumber) -> Bool { content.hasHolders(except: client) }

    var writer: ClientNumber { content.writer }

    var hasOutstanding: Bool { content.hasOutstanding }

    mutating func revokeAll(except client: ClientNumber) {
        let entries = storage.pointee.access
        for index in 0..<Int(summary.accessCount) {
            let entry = entries[index]
            if entry.client != client && entry.access == .read {
                entries[index] = PackedEntry(entry.client, .revoking)
                summary.revokingCount += 1
            }
        }

        let queue = storage.pointee.queue
        let content = content
        var kept = 0
        for index in 0..<Int(summary.queueCount) {
            let waiting = queue[index].client
            if waiting == client || !queue[index].waiter.write || content.access(of: waiting) == .none {
                queue[kept] = queue[index]
                kept += 1
            }
        }
        summary.queueCount = UInt32(kept)
    }

    // Waiting queue.

    var isQueueEmpty: Bool { summary.queueCount == 0 }

    var queueCount: Int { Int(summary.queueCount) }

    var head: Waiter { waiter(at: 0) }

    var leadingReaders: Int {
        let queue = storage.pointee.queue
        var count = 0
        while count < queueCount && !queue[count].waiter.write && access(of: queue[count].client) == .none { count += 1 }
        return count
    }

    mutating func enqueue(_ waiter: Waiter) {
        let queue = storage.pointee.queue
        if let index = content.queuePosition(waiter.client) {
            if waiter.write { queue[index] = PackedEntry(waiter) }
            return
        }
        let entry = PackedEntry(waiter)
        let count = queueCount
        summary.queueCount = openGap(queue, count, count)
        queue[count] = entry
    }

    mutating func removeWaiter(_ client: ClientNumber) {
        if let index = content.queuePosition(client) {
            summary.queueCount = closeGap(storage.pointee.queue, index, queueCount)
        }
    }

    mutating func removeUnlock(of client: ClientNumber) {
        if let index = content.queuePosition(client), storage.pointee.queue[index].waiter.write {
            summary.queueCount = closeGap(storage.pointee.queue, index, queueCount)
        }
    }

    mutating func removeFirst(_ count: Int) {
        // As with a word, more than there are means all.
        let removed = min(count, queueCount)
        let queue = storage.pointee.queue
        queue.update(from: queue + removed, count: queueCount - removed)
        summary.queueCount -= UInt32(removed)
    }

    mutating func grantFirst(_ count: Int, _ access: Access) {
        precondition(count >= 0 && count <= queueCount)
        if access == .none || count == 1 {
            for index in 0..<count { setAccess(access, of: storage.pointee.queue[index].client) }
        } else {
            mergeFirst(count, access)
        }
        removeFirst(count)
    }

    // Helpers.

    /// Room for one more element at `index`; returns the new count.
    private func openGap<T>(_ array: UnsafeMutablePointer<T>, _ index: Int, _ count: Int) -> UInt32 {
        // Whoever registers clients reserves; writing past the block would be worse than stopping.
        precondition(count < storage.pointee.capacity)
        (array + index + 1).update(from: array + index, count: count - index)
        return UInt32(count + 1)
    }

    /// Takes the element at `index` away; returns the new count.
    private func closeGap<T>(_ array: UnsafeMutablePointer<T>, _ index: Int, _ count: Int) -> UInt32 {
        (array + index).update(from: array + index + 1, count: count - index - 1)
        return UInt32(count - 1)
    }
}
