// The platform's promises on which the engine relies (platform_posix.c).

import CPlatform
import Foundation
import XCTest
@testable import Pager

final class PlatformTests: PagemapTestCase {
    func testBlocksAreZeroedAndAlignedTo16Bytes() {
        for size in [0, 1, 15, 16, 17, 100, 4096, 100_000] {
            for _ in 0..<20 {
                let block = platform_allocate(size)!
                XCTAssertEqual(UInt(bitPattern: block) & 15, 0)
                XCTAssertTrue(UnsafeRawBufferPointer(start: block, count: size).allSatisfy { $0 == 0 })
                memset(block, 0xff, size)
                platform_free(block)
            }
        }
        platform_free(nil)
    }

    func testBlocksAreCounted() {
        let before = platform_allocated_blocks()
        let blocks = (0..<10).map { _ in platform_allocate(8) }
        XCTAssertEqual(platform_allocated_blocks(), before + 10)
        for block in blocks { platform_free(block) }
        XCTAssertEqual(platform_allocated_blocks(), before)
    }

    func testExactlyTheWantedAllocationFailsAndOnlyOnce() {
        for n in 0..<5 {
            platform_fail_allocation(n)
            let blocks = (0..<10).map { _ in platform_allocate(8) }
            XCTAssertEqual(blocks.indices.filter { blocks[$0] == nil }, [n])
            for block in blocks { platform_free(block) }
        }
        platform_fail_allocation(0)
        platform_fail_allocation(-1)
        let block = platform_allocate(8)
        XCTAssertNotNil(block)
        platform_free(block)
    }

    func testTheWaitingAllocationNeverAnswersNil() {
        platform_fail_allocation(0)
        let block = platform_allocate_waiting(8)
        XCTAssertEqual(Optional(UInt(bitPattern: block) & 15), 0)
        platform_free(block)
    }

    func testALockKeepsThreadsApartAndAConditionWakesThem() {
        final class Shared: @unchecked Sendable {
            let mutex = UnsafeMutablePointer<platform_mutex_t>.allocate(capacity: 1)
            let condition = UnsafeMutablePointer<platform_condition_t>.allocate(capacity: 1)
            var count = 0, open = false
        }
        let shared = Shared()
        platform_mutex_init(shared.mutex)
        platform_condition_init(shared.condition)
        inThreads(5) { index in
            platform_mutex_lock(shared.mutex)
            if index == 4 {
                shared.open = true
                platform_condition_wake_all(shared.condition)
            } else {
                while !shared.open { _ = platform_condition_wait(shared.condition, shared.mutex, -1) }
            }
            platform_mutex_unlock(shared.mutex)
            for _ in 0..<10_000 {
                platform_mutex_lock(shared.mutex)
                shared.count += 1
                platform_mutex_unlock(shared.mutex)
            }
        }
        XCTAssertEqual(shared.count, 50_000)
        platform_condition_destroy(shared.condition)
        platform_mutex_destroy(shared.mutex)
        shared.mutex.deallocate()
        shared.condition.deallocate()
    }

    func testAWaitEndsWhenItsTimeIsOver() {
        var mutex = platform_mutex_t(), condition = platform_condition_t()
        platform_mutex_init(&mutex)
        platform_condition_init(&condition)
        platform_mutex_lock(&mutex)
        for milliseconds in [0, 1, 50, 1050] {
            let start = platform_clock_ms()
            while platform_condition_wait(&condition, &mutex, milliseconds) == 0 {}
            let passed = Int(platform_clock_ms() - start)
            XCTAssertGreaterThanOrEqual(passed + 1, milliseconds)
            XCTAssertLessThan(passed, milliseconds + 5000)
        }
        platform_mutex_unlock(&mutex)
        platform_condition_destroy(&condition)
        platform_mutex_destroy(&mutex)
    }

    func testEachThreadHasAPointerOfItsOwnWhichStartsAsNil() {
        platform_set_thread_local(UnsafeMutableRawPointer(bitPattern: 77))
        inThreads(4) { index in
            XCTAssertNil(platform_thread_local())
            platform_set_thread_local(UnsafeMutableRawPointer(bitPattern: index + 1))
            usleep(1000)
            XCTAssertEqual(platform_thread_local(), UnsafeMutableRawPointer(bitPattern: index + 1))
        }
        XCTAssertEqual(platform_thread_local(), UnsafeMutableRawPointer(bitPattern: 77))
        platform_set_thread_local(nil)
    }

    func testAThreadThatCannotBeMadeIsAnError() {
        platform_fail_allocation(0)
        XCTAssertNotEqual(platform_thread_start({ _ in }, nil), 0)
    }

    func testNumbersWidenWithoutSign() {
        XCTAssertEqual(widen(UInt.max), UInt64(UInt.max))
        XCTAssertEqual(widen(UInt32.max), 0xffff_ffff)
        XCTAssertEqual(widen(Int.max), UInt64(Int.max))
        XCTAssertEqual(widen(0), 0)
    }

    func testALogLineIsOneLineWithTheLibrarysName() throws {
        let pipe = Pipe()
        let saved = dup(2)
        dup2(pipe.fileHandleForWriting.fileDescriptor, 2)
        platform_log("refused %lu at %#lx", 7, 255)
        "\(String(repeating: "x", count: 1000))".withCString { platform_log($0, 0, 0) }
        dup2(saved, 2)
        close(saved)
        try pipe.fileHandleForWriting.close()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        XCTAssertEqual(lines.count, 3)
        XCTAssertEqual(lines[0], "libpager: refused 7 at 0xff")
        XCTAssertTrue(lines[1].hasPrefix("libpager: xxxxx") && lines[1].hasSuffix("x"))
    }
}
