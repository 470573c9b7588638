// What must hold of states, words, the descriptor table and the page map, each time somebody looks.
//
// Guarantees: `checkInvariants` costs nothing in a release build. `violation` names the first broken invariant and can be
// called in any build, which is how the tests see that a broken one is found.
//
// States: P1-P4 (PageState.swift). Both representations:
//   S1  An invalid page has an error.
// The wide one:
//   S2  Entries are sorted by client, one a client; no access entry is `.none`, no pending error is 0.
//   S3  The numbers of writers and of revoked clients are those of the entries.
// The word:
//   W1  It has the tag, or refers to a descriptor that lives, or is 0.
//   W2  The queue has no gap, and an unused slot is 0.
// Trees: T1-T4 (DescriptorTree.swift). The table:
//   D1  Each number up to the last one used is a live descriptor's, which bears it, or is in the free list, once.
//   D2  Each live descriptor is in the tree, counted for a page, valid, and does not fit a word.
//   D3  The statistics are true.
// The map:
//   M1  Each published node is aligned, and the tree covers its pages: the root's height is at most six.
//   M2  The numbers of leaves and nodes are those of the tree (while nobody changes it).

import CPlatform
import Synchronization

/// Says on the log what is broken, so that the assertion that fails is not all there is to see.
private func holds(_ violation: StaticString?) -> Bool {
    guard let violation else { return true }
    UnsafeRawPointer(violation.utf8Start).withMemoryRebound(to: CChar.self, capacity: violation.utf8CodeUnitCount) {
        platform_log($0, 0, 0)
    }
    return false
}

// States.

/// P1, P3 and P4 and S1, which can be asked of any state; P2 is a matter of the representation.
/// `clients`: clients with this number or a greater one have nothing.
func stateViolation<S: PageState>(_ state: S, clients: ClientNumber) -> StaticString? {
    if state.overflowed { return "overflowed: void" }
    var readers = 0, writers = 0, revoking = 0
    var client: ClientNumber = 0
    while client < clients {
        switch state.access(of: client) {
        case .none: break
        case .read: readers += 1
        case .revoking: revoking += 1
        case .write: writers += 1
        }
        client += 1
    }
    if writers > 1 || (writers == 1 && readers > 0) { return "P1 a writer and another" }
    if state.activity == .idle && !state.isQueueEmpty { return "P3 idle with waiters" }
    if state.activity != .flushing && revoking > 0 { return "P4 revoking without a flush" }
    if state.isInvalid && state.error == 0 { return "S1 invalid without an error" }
    // The representation agrees with itself.
    if state.isAccessEmpty != (readers + writers + revoking == 0) { return "isAccessEmpty" }
    if (state.writer != noClient) != (writers == 1) { return "writer" }
    if state.hasOutstanding != (writers + revoking > 0) { return "hasOutstanding" }
    return nil
}

func checkInvariants<S: PageState>(_ state: S, clients: ClientNumber) {
    assert(holds(stateViolation(state, clients: clients)))
}

extension WordState {
    /// P2 and W2, and all that holds of any state.
    func violation() -> StaticString? {
        var seen: UInt32 = 0, ended = false
        var slots = (raw & WordLayout.queueMask) >> WordLayout.queueShift
        for _ in 0..<WordLayout.clients {
            let slot = slots & 0xf
            slots >>= WordLayout.slotWidth
            if slot & 1 == 0 {
                if slot != 0 { return "W2 an unused slot says something" }
                ended = true
                continue
            }
            if ended { return "W2 gap in the queue" }
            let bit: UInt32 = 1 << ((slot >> 1) & 3)
            if seen & bit != 0 { return "P2 waits twice" }
            seen |= bit
        }
        return stateViolation(self, clients: WordLayout.clients)
    }

    func checkInvariants() { assert(holds(violation())) }
}

extension PageContent {
    /// P2, S1-S3: what holds of every wide state, also between two steps of a transition.
    func violation() -> StaticString? {
        var writers: UInt32 = 0, revoking: UInt32 = 0
        for index in 0..<accessCount {
            let entry = accessEntry(at: index)
            if index > 0 && accessEntry(at: index - 1).client >= entry.client { return "S2 access entries" }
            if entry.access == .none { return "S2 entry without access" }
            if entry.access == .write { writers += 1 }
            if entry.access == .revoking { revoking += 1 }
        }
        if writers != summary.writerCount || revoking != summary.revokingCount { return "S3 counts" }
        for index in 0..<pendingCount {
            if index > 0 && pendingError(at: index - 1).client >= pendingError(at: index).client {
                return "S2 pending errors"
            }
            if pendingError(at: index).code == 0 { return "S2 pending error without a code" }
        }
        for index in 0..<queueCount where queuePosition(waiter(at: index).client) != index { return "P2 waits twice" }
        if isInvalid && error == 0 { return "S1 invalid without an error" }
        return nil
    }
}

extension EncodedContent {
    /// P2, S1, S2, and that the form is the smaller one.
    func violation() -> StaticString? {
        var previous = noClient, count = 0
        var broken: StaticString?
        forEachAccess { client, access in
            if previous != noClient && previous >= client || access == .none { broken = "S2 access entries" }
            previous = client
            count += 1
        }
        if broken != nil { return broken }
        let words = count == 0 ? 0 : previous / EncodedContent.clientsPerWord + 1
        let isDense = count > 0 && Int(words) * 8 <= count * MemoryLayout<PackedEntry>.stride
        if isDense != traits.isDense || units != (isDense ? words : UInt32(count)) { return "S2 form of the access set" }
        for index in 0..<pendingCount {
            if index > 0 && pendingErrors[index - 1].client >= pendingErrors[index].client || pendingErrors[index].code == 0 {
                return "S2 pending errors"
            }
        }
        for index in 0..<queueCount {
            for other in 0..<index where waiter(at: index).client == waiter(at: other).client { return "P2 waits twice" }
        }
        if traits.hasRest != (error != 0 || queueCount != 0 || pendingCount != 0) { return "S2 rest" }
        return isInvalid && error == 0 ? "S1 invalid without an error" : nil
    }

    /// As of `PageContent`.
    var fitsWord: Bool {
        let limit = WordLayout.clients
        var fits = pendingCount == 0 && WordError.field(error) != nil && !(error != 0 ? isWriteLocked : isInvalid)
        forEachAccess { client, _ in if client >= limit { fits = false } }
        for index in 0..<queueCount where queueEntries[index].client >= limit { fits = false }
        return fits
    }
}

extension ScratchState {
    func violation() -> StaticString? {
        let content = content
        if let broken = content.violation() { return broken }
        if content.capacityNeeded > capacity { return "capacity" }
        let clients = content.isAccessEmpty ? 0 : content.accessEntry(at: content.accessCount - 1).client + 1
        return stateViolation(self, clients: clients)
    }

    func checkInvariants() { assert(holds(violation())) }
}

extension Word {
    /// W1, and what holds of the state that the word says.
    func violation(in table: DescriptorTable) -> StaticString? {
        if self == Word.untouched { return nil }
        if !isDescriptor { return WordState(self).violation() }
        guard let pointer = table.existing(descriptor) else { return "W1 no such descriptor" }
        return Descriptor(pointer: pointer).content.violation()
    }

    func checkInvariants(in table: DescriptorTable) { assert(holds(violation(in: table))) }
}

// Table and map.

extension DescriptorTable {
    func violation() -> StaticString? {
        if let broken = core.pointee.tree.violation() { return broken }

        var live = 0, unused = 0, bytes = 0
        var broken: StaticString?
        core.pointee.tree.forEach { pointer in
            let descriptor = Descriptor(pointer: pointer)
            if existing(descriptor.number) != pointer { broken = "D1 a descriptor without its slot" }
            if descriptor.pages == 0 && !pointer.pointee.isListed { broken = "D2 a descriptor without pages" }
            if descriptor.content.fitsWord { broken = "D2 a descriptor that fits a word" }
            if let invalid = descriptor.content.violation() { broken = invalid }
            if descriptor.pages == 0 { unused += 1 } else { live += 1 }
            bytes += descriptor.bytes + (pointer.pointee.edges == nil ? 0 : MemoryLayout<DescriptorEdges>.stride)
        }
        if broken != nil { return broken }
        if live != statistics.live || unused != statistics.unused || bytes != statistics.descriptorBytes { return "D3 statistics" }

        var used = 0
        var number: UInt32 = 1
        while number <= core.pointee.numbersUsed {
            if existing(number) != nil { used += 1 }
            number += 1
        }
        if used != live + unused { return "D2 a descriptor that is not in the tree" }
        var free = 0
        number = core.pointee.firstFree
        while number != 0 {
            if existing(number) != nil || number > core.pointee.numbersUsed { return "D1 free list" }
            free += 1
            if free + used > Int(core.pointee.numbersUsed) { return "D1 free list" }
            number = nextFree(number)
        }
        return free + used == Int(core.pointee.numbersUsed) ? nil : "D1 a lost number"
    }

    func checkInvariants() { assert(holds(violation())) }
}

extension PageMap {
    /// Only while nobody else touches pages.
    func violation() -> StaticString? {
        let root = header.pointee.root.load(ordering: .acquiring)
        var leaves = 0, nodes = 0
        if root != 0 {
            let height = Int(truncatingIfNeeded: root & MapLayout.heightMask)
            if height > MapLayout.maximumHeight { return "M1 height" }
            if !PageMap.count(root & ~MapLayout.heightMask, height, &leaves, &nodes) { return "M1 alignment" }
        }
        return leaves == leafCount && nodes == nodeCount ? nil : "M2 counts"
    }

    /// false: an address is not aligned.
    private static func count(_ address: UInt, _ level: Int, _ leaves: inout Int, _ nodes: inout Int) -> Bool {
        if address & MapLayout.heightMask != 0 { return false }
        if level == 0 {
            leaves += 1
            return true
        }
        nodes += 1
        for index in 0..<MapLayout.nodeChildren {
            let child = children(address)[index].load(ordering: .acquiring)
            if child != 0 && !count(child, level - 1, &leaves, &nodes) { return false }
        }
        return true
    }

    func checkInvariants() { assert(holds(violation())) }
}
