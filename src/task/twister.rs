//! The Mersenne Twister (MT19937) in the form that CPython's `random` gives it: seeded with an integer, asked for a
//! sample. Only for choices that must come out the same in every version; nothing secret may depend on it.

const SIZE: usize = 624;
const MIDDLE: usize = 397;

/// A generator.
#[derive(Debug)]
pub struct Twister {
    state: [u32; SIZE],
    next: usize,
}

impl Twister {
    /// Seeds with `seed` as `random.Random(seed)` does.
    pub fn new(seed: u128) -> Self {
        let mut key: Vec<u32> = (0..4).map(|word| (seed >> (32 * word)) as u32).collect();
        while key.len() > 1 && key.last() == Some(&0) {
            key.pop();
        }
        let mut twister = Self::from_word(19_650_218);
        twister.mix(&key);
        twister
    }

    fn from_word(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for at in 1..SIZE {
            let before = state[at - 1];
            state[at] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(at as u32);
        }
        Self { state, next: SIZE }
    }

    fn mix(&mut self, key: &[u32]) {
        let (mut at, mut word) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            let mixed = self.before(at).wrapping_mul(1_664_525);
            self.state[at] = (self.state[at] ^ mixed).wrapping_add(key[word]).wrapping_add(word as u32);
            at = self.after(at);
            word = (word + 1) % key.len();
        }
        for _ in 0..SIZE - 1 {
            let mixed = self.before(at).wrapping_mul(1_566_083_941);
            self.state[at] = (self.state[at] ^ mixed).wrapping_sub(at as u32);
            at = self.after(at);
        }
        self.state[0] = 0x8000_0000;
    }

    fn before(&self, at: usize) -> u32 {
        self.state[at - 1] ^ (self.state[at - 1] >> 30)
    }

    fn after(&mut self, at: usize) -> usize {
        if at + 1 < SIZE {
            return at + 1;
        }
        self.state[0] = self.state[SIZE - 1];
        1
    }

    /// The next 32 bits.
    fn word(&mut self) -> u32 {
        if self.next == SIZE {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for at in 0..SIZE {
            let bits = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % SIZE] & 0x7fff_ffff);
            let magic = if bits & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + MIDDLE) % SIZE] ^ (bits >> 1) ^ magic;
        }
        self.next = 0;
    }

    /// A number below `limit`: as many bits as `limit` has, drawn again until they fit.
    fn below(&mut self, limit: usize) -> usize {
        let bits = usize::BITS - limit.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits)) as usize;
            if drawn < limit {
                return drawn;
            }
        }
    }

    /// `count` different numbers below `population`, as `random.sample` picks them from more than 21 items.
    pub fn sample(&mut self, population: usize, count: usize) -> Vec<usize> {
        assert!(count <= 5 && population > 21, "smaller populations are sampled in another way");
        let mut picked = Vec::with_capacity(count);
        while picked.len() < count {
            let drawn = self.below(population);
            if !picked.contains(&drawn) {
                picked.push(drawn);
            }
        }
        picked
    }
}
