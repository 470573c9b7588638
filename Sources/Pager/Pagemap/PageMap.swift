// From page number to page word, for every page number that 64 bits can say.
//
// A radix tree: leaves of 1024 words, made when one of their pages is first touched, below nodes of 512 children.
// The tree is as high as the largest touched page needs; it grows at the top, where the old root becomes child 0
// of the new one. The root's address and height are one atomic value.
//
// Guarantees:
//   A  A word's address never changes, and it stays good until `destroy`.
//   B  `word(at:)` takes no lock, waits for nobody and writes nothing. It is wait-free: at most six nodes.
//   C  `touch` takes no lock. It is lock-free: of threads that make the same node one publishes its own, the others
//      free theirs and go on with that one.
//   D  A node is zeroed before it is published by a releasing compare-and-swap, and reached by an acquiring load:
//      whoever reaches a word sees 0 (`Word.untouched`) or what was stored there later.
//   E  A published node is never taken away or replaced, so whoever found a word finds it again, and
//      `word(at:)` finds what `touch` returned to any thread that it happens before.
//   F  `nextWord` and `forEachWord` see every word that was not 0 when they began (and still is not), in ascending order,
//      each once; of words that are touched meanwhile they may or may not see some.
//   G  Memory exhausted: `touch` says nil, and no word has changed. Nodes that it made before stay, empty.
//
// How the words themselves are loaded and stored, and in which order, is the caller's business.
// A `PageMap` is a handle: copies of it are the same map.

import CPlatform
import Synchronization

typealias WordPointer = UnsafeMutablePointer<Atomic<UInt32>>

/// Where the parts of a page number select. Written with 64 bits on 32-bit machines as well.
enum MapLayout {
    static let leafBits = 10, nodeBits = 9
    static let leafWords = 1 << leafBits, nodeChildren = 1 << nodeBits
    /// The height of a leaf is 0. Six nodes above it cover 10 + 6 * 9 = 64 bits.
    static let maximumHeight = 6
    /// The root's height lies in the low bits of its address, which alignment leaves free.
    static let heightMask: UInt = 15

    static let leafBytes = leafWords * MemoryLayout<UInt32>.stride
    static let nodeBytes = nodeChildren * MemoryLayout<UInt>.stride

    /// The page's index bits that a tree of this height selects, from bit 0.
    @inline(__always)
    static func coveredBits(_ height: Int) -> UInt64 {
        widen(leafBits &+ nodeBits &* height)
    }

    /// The place of the page's subtree in a node of this height (at least 1, so the shift is less than 64).
    @inline(__always)
    static func child(_ page: UInt64, _ height: Int) -> Int {
        Int(truncatingIfNeeded: page &>> coveredBits(height - 1)) & (nodeChildren - 1)
    }

    /// A tree of this height has a place for the page. Two shifts, as one by 64 would have to be told apart.
    @inline(__always)
    static func covers(_ height: Int, _ page: UInt64) -> Bool {
        (page &>> widen(leafBits)) &>> widen(nodeBits &* height) == 0
    }

    /// The last page of the subtree of this height that has the page.
    @inline(__always)
    static func lastPage(_ page: UInt64, _ height: Int) -> UInt64 {
        let bits = coveredBits(height)
        return bits < 64 ? page | ((1 &<< bits) &- 1) : .max
    }

    static func height(for page: UInt64) -> Int {
        var height = 0
        while !covers(height, page) { height += 1 }
        return height
    }
}

struct PageMap {
    /// A root, or a child of a node: the address of a node or leaf; 0: there is none.
    typealias Link = UnsafeMutablePointer<Atomic<UInt>>

    struct Header: ~Copyable {
        let root = Atomic<UInt>(0)
        let leaves = Atomic<UInt>(0)
        let nodes = Atomic<UInt>(0)
    }

    let header: UnsafeMutablePointer<Header>

    /// An empty map. nil: memory is exhausted.
    static func create() -> PageMap? {
        guard let header = Memory.allocate(Header.self, 1) else { return nil }
        header.initialize(to: Header())
        return PageMap(header: header)
    }

    /// The page's word; nil: neither it nor a neighbour was ever touched.
    @inline(__always)
    func word(at page: UInt64) -> WordPointer? {
        let root = header.pointee.root.load(ordering: .acquiring)
        let height = Int(truncatingIfNeeded: root & MapLayout.heightMask)
        if height == 1 {
            // A node (so `root` is not 0) and leaves.
            if !MapLayout.covers(1, page) { return nil }
            let address = PageMap.children(root - 1)[Int(truncatingIfNeeded: page &>> widen(MapLayout.leafBits))].load(ordering: .acquiring)
            if address == 0 { return nil }
            return PageMap.words(address) + (Int(truncatingIfNeeded: page) & (MapLayout.leafWords - 1))
        }
        if height > 1 { return search(page, root, height) }
        if root == 0 || page >= widen(MapLayout.leafWords) { return nil }
        return PageMap.words(root) + Int(truncatingIfNeeded: page)
    }

    @inline(never)
    private func search(_ page: UInt64, _ root: UInt, _ height: Int) -> WordPointer? {
        if root == 0 || !MapLayout.covers(height, page) { return nil }
        var address = root & ~MapLayout.heightMask
        var level = height
        while level > 0 {
            address = PageMap.children(address)[MapLayout.child(page, level)].load(ordering: .acquiring)
            if address == 0 { return nil }
            level -= 1
        }
        return PageMap.words(address) + (Int(truncatingIfNeeded: page) & (MapLayout.leafWords - 1))
    }

    /// The page's word, made if there was none. nil: memory is exhausted.
    @inline(__always)
    func touch(_ page: UInt64) -> WordPointer? { word(at: page) ?? make(page) }

    @inline(never)
    private func make(_ page: UInt64) -> WordPointer? {
        guard let root = rootCovering(page) else { return nil }
        var address = root & ~MapLayout.heightMask
        var level = Int(truncatingIfNeeded: root & MapLayout.heightMask)
        while level > 0 {
            let link = PageMap.children(address) + MapLayout.child(page, level)
            level -= 1
            let present = link.pointee.load(ordering: .acquiring)
            if present != 0 {
                address = present
            } else {
                guard let made = allocate(level) else { return nil }
                address = publish(made, level, in: link)
            }
        }
        return PageMap.words(address) + (Int(truncatingIfNeeded: page) & (MapLayout.leafWords - 1))
    }

    /// The root, tagged with its height, once the tree is high enough for the page.
    private func rootCovering(_ page: UInt64) -> UInt? {
        let needed = MapLayout.height(for: page)
        while true {
            let root = header.pointee.root.load(ordering: .acquiring)
            let height = Int(truncatingIfNeeded: root & MapLayout.heightMask)
            if root != 0 && height >= needed { return root }

            // The first root has the needed height at once; above an old one the tree grows by one.
            let newHeight = root == 0 ? needed : height + 1
            guard let made = allocate(newHeight) else { return nil }
            if root != 0 {
                // Not published yet: the releasing exchange below covers it.
                PageMap.children(made)[0].store(root & ~MapLayout.heightMask, ordering: .relaxed)
            }
            let tagged = made | UInt(newHeight)
            if !header.pointee.root.compareExchange(expected: root, desired: tagged,
                                                    ordering: .acquiringAndReleasing).exchanged {
                free(made, newHeight)
            }
        }
    }

    /// Puts a new node or leaf into a node's empty place, unless another thread was first. Returns what is there.
    private func publish(_ made: UInt, _ level: Int, in link: Link) -> UInt {
        let (exchanged, original) = link.pointee.compareExchange(expected: 0, desired: made,
                                                                 ordering: .acquiringAndReleasing)
        if exchanged { return made }
        free(made, level)
        return original
    }

    // Nodes.

    @inline(__always)
    static func children(_ address: UInt) -> Link {
        Link(bitPattern: address).unsafelyUnwrapped
    }

    @inline(__always)
    static func words(_ address: UInt) -> WordPointer {
        WordPointer(bitPattern: address).unsafelyUnwrapped
    }

    private func allocate(_ level: Int) -> UInt? {
        let bytes = level == 0 ? MapLayout.leafBytes : MapLayout.nodeBytes
        guard let block = Memory.allocateBytes(bytes) else { return nil }
        let address = UInt(bitPattern: block)
        assert(address & MapLayout.heightMask == 0)
        if level == 0 {
            header.pointee.leaves.wrappingAdd(1, ordering: .relaxed)
        } else {
            header.pointee.nodes.wrappingAdd(1, ordering: .relaxed)
        }
        return address
    }

    private func free(_ address: UInt, _ level: Int) {
        platform_free(UnsafeMutableRawPointer(bitPattern: address))
        if level == 0 {
            header.pointee.leaves.wrappingSubtract(1, ordering: .relaxed)
        } else {
            header.pointee.nodes.wrappingSubtract(1, ordering: .relaxed)
        }
    }
}
