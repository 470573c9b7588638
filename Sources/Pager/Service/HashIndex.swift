// Finds records by a 64-bit key: the versions of the write-back, outstanding lock requests, clients by port name.
//
// Guarantees: records are linked, never copied; inserting never fails (a table that cannot grow has longer chains);
// records with equal keys are found in the order of insertion. Every call is made under the pager's lock.

import CPlatform

/// The first field of every record that is indexed.
struct HashLink {
    var next: UnsafeMutablePointer<HashLink>?
    var key: UInt64
}

typealias HashLinkPointer = UnsafeMutablePointer<HashLink>

struct HashIndex {
    private var buckets: UnsafeMutablePointer<HashLinkPointer?>?
    private var mask = 0
    /// All records, while there is no memory for buckets.
    private var overflow: HashLinkPointer?
    private(set) var count = 0

    private static let initialBuckets = 16

    mutating func destroy() {
        Memory.free(buckets)
        buckets = nil
    }

    private static func hash(_ key: UInt64) -> Int {
        // Fibonacci hashing: neighbours go to different buckets.
        Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 33)
    }

    private func first(_ key: UInt64) -> HashLinkPointer? {
        guard let buckets else { return overflow }
        return buckets[HashIndex.hash(key) & mask]
    }

    private mutating func setFirst(_ key: UInt64, _ link: HashLinkPointer?) {
        if let buckets {
            buckets[HashIndex.hash(key) & mask] = link
        } else {
            overflow = link
        }
    }

    /// The first record with this key.
    func find(_ key: UInt64) -> HashLinkPointer? { HashIndex.find(key, from: first(key)) }

    /// The next record with the same key.
    func findNext(_ link: HashLinkPointer) -> HashLinkPointer? {
        HashIndex.find(link.pointee.key, from: link.pointee.next)
    }

    private static func find(_ key: UInt64, from start: HashLinkPointer?) -> HashLinkPointer? {
        var link = start
        while let candidate = link {
            if candidate.pointee.key == key { return candidate }
            link = candidate.pointee.next
        }
        return nil
    }

    @inline(__always)
    mutating func insert(_ link: HashLinkPointer, _ key: UInt64) {
        if count > mask { grow() }
        link.pointee = HashLink(next: nil, key: key)
        if first(key) == nil { setFirst(key, link) } else { append(link) }
        count &+= 1
    }

    @inline(never)
    private mutating func append(_ link: HashLinkPointer) {
        guard var last = first(link.pointee.key) else {
            setFirst(link.pointee.key, link)
            return
        }
        while let next = last.pointee.next { last = next }
        last.pointee.next = link
    }

    /// The record must be in the index.
    @inline(__always)
    mutating func remove(_ link: HashLinkPointer) {
        count &-= 1
        let head = first(link.pointee.key)
        if head == link { setFirst(link.pointee.key, link.pointee.next) } else { remove(link, behind: head.unsafelyUnwrapped) }
    }

    @inline(never)
    private func remove(_ link: HashLinkPointer, behind head: HashLinkPointer) {
        var before = head
        while before.pointee.next != link { before = before.pointee.next.unsafelyUnwrapped }
        before.pointee.next = link.pointee.next
    }

    @inline(never)
    private mutating func grow() {
        let newCount = buckets == nil ? HashIndex.initialBuckets : (mask + 1) * 2
        guard let new = Memory.allocate(HashLinkPointer?.self, newCount) else { return }
        new.initialize(repeating: nil, count: newCount)
        let old = buckets, oldCount = old == nil ? 0 : mask + 1, oldOverflow = overflow
        buckets = new
        mask = newCount - 1
        overflow = nil
        move(oldOverflow)
        for index in 0..<oldCount { move(old.unsafelyUnwrapped[index]) }
        Memory.free(old)
    }

    private mutating func move(_ chain: HashLinkPointer?) {
        var link = chain
        while let moved = link {
            link = moved.pointee.next
            moved.pointee.next = nil
            append(moved)
        }
    }
}
