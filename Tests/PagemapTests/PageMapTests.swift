// The map from page number to word: every page number, fixed addresses, no locks, no more memory than it needs.

import CPlatform
import Synchronization
import XCTest
@testable import Pager

final class PageMapTests: PagemapTestCase {
    /// The borders of leaves and of each height, and some in between.
    private var borders: [UInt64] {
        var pages: Set<UInt64> = [0, 1, 1023, 1024, 12345, .max, .max - 1, .max - 1024, 1 << 63, 1 << 52]
        for height in 0..<6 {
            let end: UInt64 = 1 << (10 + 9 * UInt64(height))
            pages.formUnion([end - 1, end, end + 1, end * 3])
        }
        return pages.sorted()
    }

    private func value(_ page: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: page ^ page >> 32) | 1 }

    private func load(_ word: WordPointer) -> UInt32 { word.pointee.load(ordering: .relaxed) }
    private func store(_ word: WordPointer, _ value: UInt32) { word.pointee.store(value, ordering: .relaxed) }

    func testAnUntouchedMapHasNoWords() {
        withMap { map in
            for page in borders { XCTAssertNil(map.word(at: page)) }
            XCTAssertNil(map.nextWord(from: 0, through: .max))
            map.forEachWord(in: 0...UInt64.max) { _, _ in XCTFail() }
            XCTAssertEqual(map.leafCount, 0)
        }
    }

    func testANewWordIsUntouched() {
        withMap { map in
            for page in borders {
                XCTAssertEqual(load(map.touch(page)!), Word.untouched.raw)
                XCTAssertEqual(map.touch(page), map.word(at: page))
            }
        }
    }

    func testEveryPageNumberUpTo2To64Minus1HasAWordOfItsOwn() {
        for order in [borders, borders.reversed()] {
            withMap { map in
                var addresses: Set<WordPointer> = []
                for page in order {
                    let word = map.touch(page)!
                    XCTAssertTrue(addresses.insert(word).inserted, "\(page)")
                    store(word, value(page))
                }
                for page in order { XCTAssertEqual(load(map.word(at: page)!), value(page), "\(page)") }
                assertHolds(map.violation())
            }
        }
    }

    func testTouchingAPageMakesItsLeafAndNoOther() {
        withMap { map in
            let page: UInt64 = 5 << 40 | 700
            _ = map.touch(page)!
            let first = page / 1024 * 1024
            for neighbour in first..<first + 1024 { XCTAssertNotNil(map.word(at: neighbour)) }
            for stranger in [first - 1, first + 1024, 0, 1023, first / 512, .max] { XCTAssertNil(map.word(at: stranger)) }
            XCTAssertEqual(map.leafCount, 1)
        }
    }

    func testAddressesDoNotChangeWhileTheMapGrows() {
        var random = SeededRandom(17)
        withMap { map in
            var addresses: [(UInt64, WordPointer)] = []
            // Ever larger pages: the tree grows at the top again and again.
            for bits in stride(from: UInt64(1), through: 64, by: 3) {
                for _ in 0..<10 {
                    let page = random.next() >> (64 - bits)
                    addresses.append((page, map.touch(page)!))
                }
                for (page, address) in addresses { XCTAssertEqual(map.word(at: page), address) }
            }
        }
    }

    func testTheMapAgreesWithADictionary() {
        var random = SeededRandom(19)
        withMap { map in
            var model: [UInt64: UInt32] = [:]
            for step in 0..<20_000 {
                // Clustered, so that leaves are shared, at all heights.
                let page = (random.next() >> (UInt64(random.below(7)) * 9)) & ~0xff_f000 | UInt64(random.below(64))
                if random.chance(2) {
                    if model.count < 2_000 || model[page] != nil {
                        store(map.touch(page)!, UInt32(step + 1))
                        model[page] = UInt32(step + 1)
                    }
                } else {
                    XCTAssertEqual(map.word(at: page).map(load) ?? 0, model[page] ?? 0)
                }
            }
            var seen: [UInt64] = []
            map.forEachWord(in: 0...UInt64.max) { page, word in
                seen.append(page)
                XCTAssertEqual(load(word), model[page])
            }
            XCTAssertEqual(seen, model.keys.sorted())
        }
    }

    // Memory.

    func testADenseMapTakesFourBytesAPage() {
        withMap { map in
            let pages: UInt64 = 1 << 20
            for page in 0..<pages { _ = map.touch(page)! }
            XCTAssertEqual(map.leafCount, 1024)
            let perPage = Double(map.bytes) / Double(pages)
            XCTAssertEqual(perPage, 4, accuracy: 0.04)
        }
        // A leaf at a time, from the first page on: nothing above a single leaf.
        withMap { map in
            _ = map.touch(0)!
            XCTAssertLessThan(map.bytes, 4096 + 64)
        }
    }

    func testAPageAloneTakesALeafAndItsNodes() {
        withMap { map in
            _ = map.touch(.max)!
            XCTAssertEqual(map.leafCount, 1)
            XCTAssertEqual(map.nodeCount, 6)
            XCTAssertLessThan(map.bytes, 7 * 4096 + 64)
        }
    }

    func testTouchingWithoutMemoryAnswersNilAndChangesNoWord() {
        for page in borders {
            withMap { map in
                let old = map.touch(3)!
                store(old, 99)
                var point = 0
                while true {
                    platform_fail_allocation(point)
                    if let word = map.touch(page) {
                        platform_fail_allocation(-1)
                        XCTAssertEqual(load(word), page == 3 ? 99 : 0)
                        break
                    }
                    XCTAssertNil(map.word(at: page))
                    XCTAssertEqual(map.word(at: 3), old)
                    XCTAssertEqual(load(old), 99)
                    assertHolds(map.violation())
                    point += 1
                    // What it made before it failed stays, so it comes further each time.
                    XCTAssertLessThan(point, 20)
                }
                XCTAssertEqual(point == 0, page < 1024)
            }
        }
        platform_fail_allocation(0)
        XCTAssertNil(PageMap.create())
    }

    // Walking.

    func testWalkingVisitsTheWordsOfTheRangeInOrderAndNoOther() {
        withMap { map in
            for page in borders { store(map.touch(page)!, value(page)) }
            var ends = Set(borders)
            for page in borders {
                ends.insert(page &+ 1)
                ends.insert(page &- 1)
            }
            for first in ends {
                for last in ends where last >= first {
                    var seen: [UInt64] = []
                    map.forEachWord(in: first...last) { page, word in
                        seen.append(page)
                        XCTAssertEqual(self.load(word), self.value(page))
                    }
                    XCTAssertEqual(seen, borders.filter { $0 >= first && $0 <= last })
                    var open: [UInt64] = []
                    map.forEachWord(in: first..<last) { page, _ in open.append(page) }
                    XCTAssertEqual(open, seen.filter { $0 < last })
                    XCTAssertEqual(map.nextWord(from: first, through: last)?.page, seen.first)
                }
            }
            XCTAssertNil(map.nextWord(from: 10, through: 9))
        }
    }

    func testWalkingPassesOverWordsThatAreZeroAgain() {
        withMap { map in
            for page in [UInt64](10...20) + [5000] { store(map.touch(page)!, 1) }
            for page in UInt64(12)...18 { store(map.word(at: page)!, 0) }
            var seen: [UInt64] = []
            map.forEachWord(in: 0...UInt64.max) { page, _ in seen.append(page) }
            XCTAssertEqual(seen, [10, 11, 19, 20, 5000])
        }
    }

    func testTheBodyOfAWalkMayChangeWordsAndTouchPages() {
        withMap { map in
            for page in UInt64(0)..<3000 { store(map.touch(page)!, 1) }
            var seen: [UInt64] = []
            map.forEachWord(in: 0...UInt64.max) { page, word in
                seen.append(page)
                self.store(word, 0)
                if page % 500 == 0 { self.store(map.touch(page << 30 | 1 << 20)!, 0) }
            }
            XCTAssertEqual(seen, Array(0..<3000))
        }
    }

    func testWalkingTheWholeRangeOfASparseMapIsQuick() {
        withMap { map in
            store(map.touch(.max)!, 1)
            store(map.touch(0)!, 1)
            let start = platform_clock_ms()
            var seen: [UInt64] = []
            for _ in 0..<10 { map.forEachWord(in: 0...UInt64.max) { page, _ in seen.append(page) } }
            XCTAssertEqual(seen.count, 20)
            // 2^64 pages are passed a subtree at a time.
            XCTAssertLessThan(platform_clock_ms() - start, 2000)
        }
    }

    func testEachLeafIsVisitedOnceInOrderWithItsFirstPage() {
        withMap { map in
            map.forEachLeaf { _, _ in XCTFail() }
            // Also after the map has grown at its top, and at the end of the page numbers.
            let pages: [UInt64] = [5, 1023, 1024, 1 << 19, (1 << 40) + 7, .max]
            for page in pages { XCTAssertNotNil(map.touch(page)) }
            var seen: [UInt64] = []
            map.forEachLeaf { first, words in
                seen.append(first)
                XCTAssertEqual(map.word(at: first), words)
            }
            XCTAssertEqual(seen, [0, 1024, 1 << 19, 1 << 40, .max - 1023])
        }
    }
}
