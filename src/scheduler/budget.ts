/** How many tokens a step computes, and how they are dealt out. */

export interface BudgetOptions {
  /** Token slots of a step. */
  readonly maxTokens: number;
  /** false: a prompt is computed in one step or not yet. */
  readonly chunkedPrefill: boolean;
  /** Most tokens of one sequence in a step; 0: no such bound. */
  readonly longPrefillThreshold: number;
}

export class TokenBudget {
  remaining = 0;

  constructor(private readonly options: BudgetOptions) {}

  begin(): void {
    this.remaining = this.options.maxTokens;
  }

  /**
   * Tokens for a sequence that wants `wanted`; 0: none in this step. A chunk leaves one slot for each of the `behind` running
   * sequences that come after it, so that no decode stalls behind a long prompt.
   */
  grant(wanted: number, behind: number): number {
    const { chunkedPrefill, longPrefillThreshold } = this.options;
    if (wanted === 1 || !chunkedPrefill) return wanted <= this.remaining ? wanted : 0;
    const bound = longPrefillThreshold > 0 ? Math.min(wanted, longPrefillThreshold) : wanted;
    return Math.min(bound, this.remaining, Math.max(1, this.remaining - behind));
  }
}
