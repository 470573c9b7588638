// What a wide state says, as arrays: how scratch states have it. (Descriptors store it encoded: EncodedContent.swift.)
//
// Guarantees:
//   - The form is canonical: two contents are equal exactly if they say the same of the page. The access
//     entries are sorted by client and never `.none`, pending errors are sorted and never 0, the queue is in
//     order of arrival.
//   - `PageContent` is a view: it owns nothing and is void as soon as the state that it views changes.

/// One client's access, or one waiter, in 32 bits with the client on top: entries sort by client.
struct PackedEntry: Equatable {
    let raw: UInt32

    private static let clientShift: UInt32 = 2
    /// Far above any number of kernels. `noClient` is not a client that can have an entry.
    static let maximumClient: ClientNumber = (.max >> clientShift) - 1

    @inline(__always)
    init(_ client: ClientNumber, _ access: Access) {
        // Checked in release builds as well: a cut client number would be another client.
        precondition(client <= PackedEntry.maximumClient)
        raw = (client << PackedEntry.clientShift) | UInt32(access.rawValue)
    }

    @inline(__always)
    init(_ waiter: Waiter) {
        precondition(waiter.client <= PackedEntry.maximumClient)
        raw = (waiter.client << PackedEntry.clientShift) | (waiter.write ? 1 : 0)
    }

    var client: ClientNumber { raw >> PackedEntry.clientShift }
    var access: Access { Access(rawValue: UInt8(truncatingIfNeeded: raw & 3)).unsafelyUnwrapped }
    var waiter: Waiter { Waiter(client: client, write: raw & 1 != 0) }
}

struct PendingError: Equatable {
    var client: ClientNumber
    var code: Int32
}

struct AccessEntry: Equatable {
    var client: ClientNumber
    var access: Access
}

/// The part of the content that has a fixed size.
struct ContentSummary {
    var activity = Activity.idle
    var isHeld = false
    var isInvalid = false
    var isWriteLocked = false
    var error: Int32 = 0
    var accessCount: UInt32 = 0
    var queueCount: UInt32 = 0
    var pendingCount: UInt32 = 0

    // These follow from the access entries; kept so that the rules need not search.
    var writerCount: UInt32 = 0
    var revokingCount: UInt32 = 0

    /// Adds to (or takes from) the counts what an entry with this access stands for.
    @inline(__always)
    mutating func note(_ access: Access, entered: Bool) {
        let one: UInt32 = entered ? 1 : .max
        if access == .write { writerCount &+= one }
        if access == .revoking { revokingCount &+= one }
    }
}

struct PageContent {
    let summary: ContentSummary
    let accessEntries: UnsafePointer<PackedEntry>
    let queueEntries: UnsafePointer<PackedEntry>
    let pendingErrors: UnsafePointer<PendingError>

    // Read access, as in `PageState`.

    var activity: Activity { summary.activity }
    var isHeld: Bool { summary.isHeld }
    var isInvalid: Bool { summary.isInvalid }
    var isWriteLocked: Bool { summary.isWriteLocked }
    var error: Int32 { summary.error }

    /// Number of clients that have access or are being revoked.
    var accessCount: Int { Int(summary.accessCount) }
    var queueCount: Int { Int(summary.queueCount) }
    var pendingCount: Int { Int(summary.pendingCount) }
    /// The room that the longest array needs. (The `max` of three numbers would make an array.)
    var capacityNeeded: Int { max(accessCount, max(queueCount, pendingCount)) }
    var isAccessEmpty: Bool { summary.accessCount == 0 }
    var isQueueEmpty: Bool { summary.queueCount == 0 }
    var hasOutstanding: Bool { summary.writerCount | summary.revokingCount != 0 }

    /// In order of client numbers.
    func accessEntry(at index: Int) -> AccessEntry {
        assert(index >= 0 && index < accessCount)
        return AccessEntry(client: accessEntries[index].client, access: accessEntries[index].access)
    }

    /// In order of arrival.
    func waiter(at index: Int) -> Waiter {
        assert(index >= 0 && index < queueCount)
        return queueEntries[index].waiter
    }

    /// In order of client numbers.
    func pendingError(at index: Int) -> PendingError {
        assert(index >= 0 && index < pendingCount)
        return pendingErrors[index]
    }

    func access(of client: ClientNumber) -> Access {
        let index = accessPosition(client)
        if index < accessCount && accessEntries[index].client == client { return accessEntries[index].access }
        return .none
    }

    func pendingError(of client: ClientNumber) -> Int32 {
        let index = pendingPosition(client)
        if index < pendingCount && pendingErrors[index].client == client { return pendingErrors[index].code }
        return 0
    }

    func hasHolders(except client: ClientNumber) -> Bool {
        switch accessCount {
        case 0: return false
        case 1: return accessEntries[0].client != client
        default: return true
        }
    }

    var writer: ClientNumber {
        if summary.writerCount == 0 { return noClient }
        var index = 0
        while accessEntries[index].access != .write { index += 1 }
        assert(index < accessCount)
        return accessEntries[index].client
    }

    /// Where the client's access entry is, or would have to be.
    func accessPosition(_ client: ClientNumber) -> Int {
        var low = 0, high = accessCount
        while low < high {
            let middle = (low + high) / 2
            if accessEntries[middle].client < client { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Where the client's pending error is, or would have to be.
    func pendingPosition(_ client: ClientNumber) -> Int {
        var low = 0, high = pendingCount
        while low < high {
            let middle = (low + high) / 2
            if pendingErrors[middle].client < client { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Where the client stands in the queue, or nil.
    func queuePosition(_ client: ClientNumber) -> Int? {
        for index in 0..<queueCount where queueEntries[index].client == client { return index }
        return nil
    }
}
