// Walking over a page map, measuring it, and taking it down.
//
// Guarantees: walking takes no lock and allocates nothing; it skips what was never touched a subtree at a time, so its
// cost is linear in the touched leaves of the range (and their nodes), not in the range. See F in PageMap.swift for what
// it sees while others touch pages.

import CPlatform
import Synchronization

/// A page that somebody touched.
struct MappedWord {
    let page: UInt64
    let word: WordPointer
}

extension PageMap {
    /// The first page of the range whose word is not 0; nil: there is none. Both ends are pages of the range.
    func nextWord(from first: UInt64, through last: UInt64) -> MappedWord? {
        var page = first
        while page <= last {
            switch leaf(at: page) {
            case .absent(let lastAbsent):
                if lastAbsent >= last { return nil }
                page = lastAbsent + 1
            case .present(let words):
                let lastHere = min(MapLayout.lastPage(page, 0), last)
                while true {
                    let word = words + (Int(truncatingIfNeeded: page) & (MapLayout.leafWords - 1))
                    if word.pointee.load(ordering: .relaxed) != 0 { return MappedWord(page: page, word: word) }
                    if page == lastHere { break }
                    page += 1
                }
                if page == last { return nil }
                page += 1
            }
        }
        return nil
    }

    /// The words of the range that are not 0, in ascending order. `body` may change words and touch pages.
    @inline(__always)
    func forEachWord(in pages: ClosedRange<UInt64>, _ body: (UInt64, WordPointer) -> Void) {
        var page = pages.lowerBound
        while let next = nextWord(from: page, through: pages.upperBound) {
            body(next.page, next.word)
            if next.page == pages.upperBound { return }
            page = next.page + 1
        }
    }

    @inline(__always)
    func forEachWord(in pages: Range<UInt64>, _ body: (UInt64, WordPointer) -> Void) {
        if pages.isEmpty { return }
        forEachWord(in: pages.lowerBound...(pages.upperBound - 1), body)
    }

    /// The leaves, in ascending order: the first page's number and the words. `body` may change words and touch pages.
    @inline(__always)
    func forEachLeaf(_ body: (UInt64, WordPointer) -> Void) {
        var page: UInt64 = 0
        while true {
            let last: UInt64
            switch leaf(at: page) {
            case .absent(let lastAbsent): last = lastAbsent
            case .present(let words):
                body(page, words)
                last = MapLayout.lastPage(page, 0)
            }
            if last == .max { return }
            page = last + 1
        }
    }

    private enum LeafResult {
        case present(WordPointer)
        /// No page up to this one was touched, from the page that was asked for.
        case absent(lastPage: UInt64)
    }

    private func leaf(at page: UInt64) -> LeafResult {
        let root = header.pointee.root.load(ordering: .acquiring)
        var level = Int(truncatingIfNeeded: root & MapLayout.heightMask)
        if root == 0 || !MapLayout.covers(level, page) { return .absent(lastPage: .max) }
        var address = root & ~MapLayout.heightMask
        while level > 0 {
            let children = PageMap.children(address)
            var index = MapLayout.child(page, level)
            address = children[index].load(ordering: .acquiring)
            level -= 1
            if address == 0 {
                // The absent neighbours as well, so that an empty node is passed in one go.
                var lastPage = MapLayout.lastPage(page, level)
                while index + 1 < MapLayout.nodeChildren, children[index + 1].load(ordering: .relaxed) == 0 {
                    index += 1
                    lastPage = MapLayout.lastPage(lastPage + 1, level)
                }
                return .absent(lastPage: lastPage)
            }
        }
        return .present(PageMap.words(address))
    }

    // Size.

    /// Leaves in the map (and, for a moment, those that a thread made and is about to publish or free).
    var leafCount: Int { Int(header.pointee.leaves.load(ordering: .relaxed)) }

    var nodeCount: Int { Int(header.pointee.nodes.load(ordering: .relaxed)) }

    /// Everything that the map occupies.
    var bytes: Int {
        MemoryLayout<Header>.stride + leafCount * MapLayout.leafBytes + nodeCount * MapLayout.nodeBytes
    }

    // The end.

    /// Frees everything. Nobody may use the map, or a word of it, any more.
    func destroy() {
        let root = header.pointee.root.load(ordering: .acquiring)
        if root != 0 {
            PageMap.destroy(root & ~MapLayout.heightMask, Int(truncatingIfNeeded: root & MapLayout.heightMask))
        }
        Memory.free(header)
    }

    /// Recursion is at most six deep.
    private static func destroy(_ address: UInt, _ level: Int) {
        if level > 0 {
            for index in 0..<MapLayout.nodeChildren {
                let child = children(address)[index].load(ordering: .relaxed)
                if child != 0 { destroy(child, level - 1) }
            }
        }
        platform_free(UnsafeMutableRawPointer(bitPattern: address))
    }
}
