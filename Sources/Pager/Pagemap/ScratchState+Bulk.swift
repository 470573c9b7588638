// Granting to many waiters at once, and loading and copying whole states.
//
// Guarantees: `mergeFirst` takes n log n for n waiters and is linear in the access entries; loading and copying
// are linear. Nothing allocates.

extension ScratchState {
    /// The first `count` waiters get this access (not `.none`). Leaves them in the queue, in another order:
    /// the caller removes them.
    func mergeFirst(_ count: Int, _ access: Access) {
        assert(access != .none && count <= Int(summary.queueCount))
        let waiters = storage.pointee.queue
        let entries = storage.pointee.access
        ScratchState.sort(waiters, count)

        var summary = summary
        let oldCount = Int(summary.accessCount)
        let newCount = oldCount + clientsWithoutAccess(waiters, count)
        precondition(newCount <= storage.pointee.capacity)

        // From the back, so that nothing is overwritten before it was moved.
        var from = oldCount - 1, to = newCount - 1, next = count - 1
        while next >= 0 {
            let client = waiters[next].client
            if from >= 0 && entries[from].client > client {
                entries[to] = entries[from]
                from -= 1
            } else {
                if from >= 0 && entries[from].client == client {
                    summary.note(entries[from].access, entered: false)
                    from -= 1
                }
                entries[to] = PackedEntry(client, access)
                summary.note(access, entered: true)
                next -= 1
            }
            to -= 1
        }
        // What is left is in its place already.
        assert(from == to)
        summary.accessCount = UInt32(newCount)
        self.summary = summary
    }

    /// How many of these sorted waiters have no access entry.
    private func clientsWithoutAccess(_ waiters: UnsafeMutablePointer<PackedEntry>, _ count: Int) -> Int {
        let entries = storage.pointee.access
        let accessCount = Int(summary.accessCount)
        var without = 0, position = 0
        for index in 0..<count {
            let client = waiters[index].client
            while position < accessCount && entries[position].client < client { position += 1 }
            if position == accessCount || entries[position].client != client { without += 1 }
        }
        return without
    }

    /// Heap sort: in place, and never quadratic. No client occurs twice (P2), so this sorts by client.
    private static func sort(_ array: UnsafeMutablePointer<PackedEntry>, _ count: Int) {
        var root = count / 2
        while root > 0 {
            root -= 1
            sift(array, root, count)
        }
        var end = count
        while end > 1 {
            end -= 1
            let largest = array[0]
            array[0] = array[end]
            array[end] = largest
            sift(array, 0, end)
        }
    }

    private static func sift(_ array: UnsafeMutablePointer<PackedEntry>, _ start: Int, _ count: Int) {
        var root = start
        while true {
            var child = 2 * root + 1
            if child >= count { return }
            if child + 1 < count && array[child + 1].raw > array[child].raw { child += 1 }
            if array[root].raw >= array[child].raw { return }
            let moved = array[root]
            array[root] = array[child]
            array[child] = moved
            root = child
        }
    }

    // Whole states.

    /// At rest, with nobody and nothing to remember.
    func reset() { summary = ContentSummary() }

    /// The state that the word says. It must not refer to a descriptor.
    mutating func load(_ word: Word) {
        reset()
        let state = WordState(word)
        activity = state.activity
        isHeld = state.isHeld
        error = state.error
        isInvalid = state.isInvalid
        isWriteLocked = state.isWriteLocked
        for client in 0..<WordLayout.clients { setAccess(state.access(of: client), of: client) }
        for index in 0..<state.queueCount { enqueue(state.waiter(at: index)) }
    }

    /// The state that another scratch state has.
    func load(_ content: PageContent) {
        precondition(content.capacityNeeded <= storage.pointee.capacity)
        storage.pointee.access.update(from: content.accessEntries, count: content.accessCount)
        storage.pointee.queue.update(from: content.queueEntries, count: content.queueCount)
        storage.pointee.pending.update(from: content.pendingErrors, count: content.pendingCount)
        summary = content.summary
    }

    func copy(from other: ScratchState) { load(other.content) }
}

// To and from the word.

extension PageContent {
    /// Four clients, an error that the word can say, nothing that only a descriptor can remember.
    var fitsWord: Bool {
        let limit = WordLayout.clients
        // The entries are sorted: the last has the greatest client.
        if accessCount > 0 && accessEntries[accessCount - 1].client >= limit { return false }
        if pendingCount > 0 || WordError.field(error) == nil { return false }
        // Bit 28 says "invalid" with an error and "write-locked" without.
        if error != 0 ? isWriteLocked : isInvalid { return false }
        if queueCount > Int(limit) { return false }
        for index in 0..<queueCount where queueEntries[index].client >= limit { return false }
        return true
    }
}

extension ScratchState {
    var fitsWord: Bool { content.fitsWord }

    /// The word that says the same, if there is one. (Never `Word.untouched`.)
    func asWord() -> Word? {
        let content = content
        if !content.fitsWord { return nil }
        var state = WordState(Word.resting)
        state.activity = content.activity
        state.isHeld = content.isHeld
        state.error = content.error
        state.isInvalid = content.isInvalid
        state.isWriteLocked = content.isWriteLocked
        for index in 0..<content.accessCount {
            let entry = content.accessEntry(at: index)
            state.setAccess(entry.access, of: entry.client)
        }
        for index in 0..<content.queueCount { state.enqueue(content.waiter(at: index)) }
        // The pair of `fitsWord`.
        assert(!state.overflowed)
        return state.word
    }
}
