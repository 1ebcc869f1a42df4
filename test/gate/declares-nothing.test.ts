import { suite } from '../support/suite.ts';

suite('an empty suite', () => {});
